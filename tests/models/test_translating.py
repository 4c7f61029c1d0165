import numpy as np
import pytest
import torch

from models.checkpoint import load_checkpoint, save_checkpoint
from models.families import build
from models.learning import DataChoice
from models.presets import load_preset
from models.training import Trainer, TrainingOptions
from models.translating import (
    TranslationOptions,
    averaged,
    batch_of,
    grouped,
    source_ids,
    subwords_of,
    translations,
)
from models.translation_learning import TranslationLearning
from models.translation_quality import bleu, bleu_by_length, joined, measure_checkpoints, signatures
from models.translator import SearchOptions
from server.contract.subwords import END_ID, PAD_ID, START_ID
from tests.models.translation_builders import ids, pairs, recipe


def test_the_decoder_is_told_what_it_should_have_said_before():
    batch = batch_of([(np.array([4, 5, END_ID]), np.array([6, 7])), (np.array([8, END_ID]), np.array([9]))])
    assert batch.source_BS.tolist() == [[4, 5, END_ID], [8, END_ID, PAD_ID]]
    assert batch.told_BT.tolist() == [[START_ID, 6, 7], [START_ID, 9, PAD_ID]]
    assert batch.next_BT.tolist() == [[6, 7, END_ID], [9, END_ID, PAD_ID]]


def test_batches_hold_every_pair_once_and_stay_within_their_bounds():
    rng = np.random.default_rng(1)
    examples = [(ids(rng, rng.integers(1, 30)), ids(rng, rng.integers(1, 30))) for _ in range(200)]
    groups = list(grouped(examples, 150, 7, rng))
    assert sorted(np.concatenate(groups).tolist()) == list(range(200))
    for group in groups:
        source, told, _ = batch_of([examples[place] for place in group])
        assert len(group) <= 7
        assert len(group) == 1 or source.numel() + told.numel() <= 150
    filled = sum(len(source) + len(target) + 1 for source, target in examples)
    cells = sum(
        sum(part.numel() for part in batch_of([examples[one] for one in group])[:2]) for group in groups
    )
    assert filled / cells > 0.7


def test_other_epochs_batch_otherwise():
    made = recipe()
    first, again, other = (
        [batch.source_BS.tolist() for batch in made.batches(epoch, 3, np.random.default_rng(seed))[1]]
        for epoch, seed in ((0, 1), (0, 1), (1, 2))
    )
    assert first == again != other


def test_padding_does_not_count():
    made = recipe(train=3)
    net = made.network().eval()
    losses = [float(made._loss(net, batch_of([one]), 0.0)[0].detach()) for one in made.examples]
    pieces = [len(target) + 1 for _, target in made.examples]
    together = float(made._loss(net, batch_of(made.examples), 0.0)[0].detach())
    assert together == pytest.approx(np.average(losses, weights=pieces), abs=1e-5)


def test_smoothing_bounds_what_can_be_reached_and_pull_adds():
    plain, smooth = recipe(label_smoothing=0.0), recipe(label_smoothing=0.3)
    torch.manual_seed(1)
    net = plain.network().eval()
    batch = batch_of(plain.examples[:4])
    assert plain.loss(net, batch)[1] == 4
    assert float(plain.loss(net, batch)[0].detach()) != float(smooth.loss(net, batch)[0].detach())
    relaxed = {"relaxation": 2, "ahead": 0, "dropout": 0.0, "embedding_dropout": 0.0, "readout_dropout": 0.0}
    free, pulled = (recipe("extended_neural_gpu", shape=relaxed, relaxation_pull=pull) for pull in (0.0, 0.5))
    net = free.network()
    difference = pulled.loss(net, batch)[0] - free.loss(net, batch)[0]
    assert float(difference.detach()) == pytest.approx(0.5 * float(net.disagreement().detach()), rel=1e-3)


def test_checkpoints_hold_the_mean_of_the_last_epochs():
    made = recipe(train=6, bleu_pairs=0)
    net = made.network()
    own = {}
    for epoch in range(3):
        with torch.no_grad():
            net.output_bias.fill_(float(epoch))
        made.evaluate(net)
        own = dict(net.state_dict())
    saved = made.checkpoint(net, {}, {})
    assert saved.weights["output_bias"].unique().tolist() == [1.5]
    assert own["output_bias"].unique().tolist() == [2.0]
    other = recipe(train=6, bleu_pairs=0)
    other.restore(made.state())
    assert torch.equal(other.checkpoint(net, {}, {}).weights["output_bias"], saved.weights["output_bias"])


def test_the_mean_leaves_whole_numbers_alone():
    parts = [
        {"weight": torch.tensor([1.0]), "count": torch.tensor(3)},
        {"weight": torch.tensor([3.0]), "count": torch.tensor(5)},
    ]
    assert averaged(parts)["weight"].tolist() == [2.0]
    assert int(averaged(parts)["count"]) == 5


@pytest.mark.parametrize("joint", [True, False], ids=["one vocabulary", "two vocabularies"])
def test_a_checkpoint_translates_as_the_network_it_is_of(joint, tmp_path):
    made = recipe(joint=joint, shape={"shared_embedding": joint}, averaged_epochs=1)
    net = made.network()
    made.evaluate(net)
    save_checkpoint(made.checkpoint(net, {"seed": 1}, {}), tmp_path / "best.pt")
    loaded = load_checkpoint(tmp_path / "best.pt")
    assert loaded.selector == {"source": "en", "target": "art"}
    texts = [pair.source for pair in pairs(5)]
    subwords = subwords_of(loaded)
    assert (subwords[0] is subwords[1]) == joint
    said = translations(build(loaded), subwords, texts, SearchOptions())
    assert said == translations(net.eval(), made.subwords, texts, SearchOptions())
    assert len(said) == 5


def test_pieces_of_a_source_end_with_the_end_mark():
    made = recipe()
    cut = source_ids(made.subwords[0], "The dog.")
    assert cut[-1] == END_ID
    assert made.subwords[0].text(cut.tolist()).strip() == "The dog."


def test_pairs_that_are_too_long_are_left_out():
    assert 0 < len(recipe(max_pieces=8).examples) < 40
    with pytest.raises(ValueError, match=r"no pair has at most 1 pieces: learning\.max_pieces"):
        recipe(max_pieces=1)
    with pytest.raises(ValueError, match="averaged_epochs must be at least 1, got 0"):
        TranslationOptions(averaged_epochs=0)


def test_a_run_resumes_where_it_was(tmp_path):
    def run(folder, epochs, stop=None):
        made = recipe(train=30, bleu_pairs=0)
        if stop is not None:
            whole = made.evaluate
            made.evaluate = lambda net: whole(net) if len(made.last) < stop else _stop()
        options = TrainingOptions(epochs=epochs, learning_rate=1e-2)
        provenance = {"options": {}, "selection": {}}
        return Trainer(made, options, folder, provenance, quiet=True).fit()

    def _stop():
        raise KeyboardInterrupt

    best = load_checkpoint(run(tmp_path / "whole", 3)).weights
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", 3, stop=2)
    again = load_checkpoint(run(tmp_path / "killed", 3)).weights
    assert all(torch.equal(best[name], again[name]) for name in best)


def test_a_plan_and_its_table():
    changes = ["data.pairs=60", "network.hidden=8", "network.embedding=6", "learning.bleu_pairs=0"]
    tables = load_preset("attention_gru", "tiny", changes)
    training = TrainingOptions(seed=5)
    plan = TranslationLearning().plan("attention_gru", tables, DataChoice(), training)
    assert plan.summary[0] == "60 training and 200 validation pairs"
    assert plan.selection == {"source": "sample", "languages": "en-art", "pairs": 60}
    net = plan.recipe.network()
    saved = plan.recipe.checkpoint(net, {"selection": plan.selection, "options": {"seed": 5}}, {})
    measured = measure_checkpoints({"one": saved}, DataChoice())
    assert measured.title == "sample test, en-art, 200 sentences"
    assert list(measured.rows[0])[:2] == ["network", "BLEU"]
    assert "tok:13a" in measured.notes[0]
    assert "case:mixed" in measured.notes[0]


def test_a_plan_for_the_other_direction_says_so():
    tables = load_preset("extended_neural_gpu", "tiny", ["data.pairs=20"])
    plan = TranslationLearning().plan(
        "extended_neural_gpu", tables, DataChoice(tasks="art-en"), TrainingOptions()
    )
    assert plan.recipe.checkpoint(plan.recipe.network(), {}, {}).selector == {"source": "art", "target": "en"}


def test_bleu_of_the_references_themselves_is_100_in_every_group():
    references = dict(pair for pair in pairs(30))

    def say(texts):
        return [references.get(text) or " ".join(references[one] for one in _apart(text)) for text in texts]

    def _apart(text):
        return [
            part.strip() for part in text.replace(".", ".|").replace("?", "?|").split("|") if part.strip()
        ]

    row = bleu_by_length(pairs(30), say)
    assert row["BLEU"] == pytest.approx(100)
    assert all(value == pytest.approx(100) for value in row.values() if value is not None)
    assert row["over 20 words"] is None
    assert row["4 joined"] == pytest.approx(100)


def test_captions_are_joined_in_a_row():
    three = joined(pairs(7), 3)
    assert len(three) == 2
    assert three[1].source == " ".join(pair.source for pair in pairs(7)[3:6])


def test_bleu_is_cased_and_signed():
    assert bleu(["The dog sees it now."], ["the dog sees it now."]) < 100
    assert bleu([], []) is None
    assert [note.partition(":")[0] for note in signatures()] == ["BLEU", "chrF"]
