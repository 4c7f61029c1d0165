"""What holds for every family, and for those that read stories in every variant that they offer."""

import numpy as np
import pytest
import torch

from models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from models.data.sample import sample_stories
from models.families import FAMILIES, build
from models.learners import LEARNING
from models.presets import options_from, presets
from models.question_answering import QuestionAnsweringOptions, QuestionAnsweringRecipe
from models.training import TrainingOptions
from tests.models.builders import ask, network, recipe, sentence, story, variants

every_variant = pytest.mark.parametrize(
    ("family", "options"),
    list(variants()),
    ids=lambda value: value if isinstance(value, str) else "-".join(value.values()),
)
every_family = pytest.mark.parametrize("family", FAMILIES)


@every_family
def test_a_family_is_complete(family):
    record = FAMILIES[family]
    assert record.name == family
    assert record.task in LEARNING
    assert record.title
    assert record.paper


@every_family
def test_a_family_has_a_preset_for_tests_and_every_preset_fits(family):
    assert "tiny" in presets(family)
    learning = LEARNING[FAMILIES[family].task]
    for preset in presets(family).values():
        options_from(learning.selection, "data", preset["data"])
        given = dict.fromkeys(learning.given, 2)
        options_from(FAMILIES[family].config, "network", preset["network"], **given)
        options_from(learning.options, "learning", preset["learning"])
        options_from(TrainingOptions, "training", preset["training"])
        assert preset.keys() == {"data", "network", "learning", "training"}


@every_variant
def test_gradients_reach_every_parameter(family, options):
    made = recipe(family=family, shape=options, gate_supervision=0.3)
    net = made.network()
    _, batches = made.batches(0, 1, np.random.default_rng(1))
    loss, _ = made.loss(net, next(iter(batches)))
    loss.backward()
    without = {name for name, weight in net.named_parameters() if not weight.grad.abs().sum() > 0}
    assert without <= {"gate.score.bias"}  # a softmax does not see what is added to all its scores


@every_variant
def test_padding_is_never_learnt(family, options):
    made = recipe(family=family, shape=options)
    net = made.network()
    optimiser = torch.optim.AdamW(net.parameters(), lr=0.1)
    for batch in made.batches(0, 1, np.random.default_rng(1))[1]:
        made.loss(net, batch)[0].backward()
        optimiser.step()
    assert net.embedding.weight[0].abs().sum() == 0


@every_variant
def test_eight_examples_can_be_learnt_by_heart(family, options):
    examples = sample_stories(5, seed=4, facts=5)[:8]
    shape = {"embedding": 16, "hidden": 16, "input_dropout": 0.0, "answer_dropout": 0.0} | options
    made = QuestionAnsweringRecipe(family, examples, examples, QuestionAnsweringOptions(), shape)
    net = made.network()
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-2)
    for epoch in range(120):
        for batch in made.batches(epoch, 120, np.random.default_rng(epoch))[1]:
            loss, _ = made.loss(net, batch)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    assert made.evaluate(net).error == 0
    assert loss < 0.05


@every_variant
def test_a_checkpoint_gives_back_the_network(family, options, tmp_path):
    net, rng = network(family, **options), np.random.default_rng(2)
    config = vars(net.config)
    saved = Checkpoint(
        family, config, net.state_dict(), ["a"], ["b"], {"max_facts": 3}, {"seed": 1}, {"error": 0.5}
    )
    save_checkpoint(saved, tmp_path / "deeper" / "best.pt")
    loaded = load_checkpoint(tmp_path / "deeper" / "best.pt")
    assert {**vars(loaded), "weights": None} == {**vars(saved), "weights": None}
    tokens, question = story(rng, (3, 2)), sentence(rng, 4)
    for ours, theirs in zip(
        ask(net, [tokens], [question]), ask(build(loaded), [tokens], [question]), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_a_checkpoint_of_another_family_is_refused():
    with pytest.raises(ValueError, match="unknown family 'oracle'; known: dmn_plus"):
        build(Checkpoint("oracle", {}, {}, [], [], {}))


@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint", b"PK\x03\x04 cut short"], ids=["empty", "text", "broken archive"]
)
def test_a_file_that_is_no_checkpoint_is_refused(content, tmp_path):
    (tmp_path / "best.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"best\.pt is not an Engram checkpoint"):
        load_checkpoint(tmp_path / "best.pt")


def test_a_checkpoint_of_another_format_is_refused(tmp_path):
    torch.save({"format": 99}, tmp_path / "best.pt")
    with pytest.raises(ValueError, match=r"best\.pt is not an Engram checkpoint of format 1"):
        load_checkpoint(tmp_path / "best.pt")
