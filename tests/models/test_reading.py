import numpy as np
import pytest
import torch

from models.attention_sum_reader import FAR_BELOW
from models.data.cloze import Cloze, reading_vocabulary
from models.data.passages import Articles, Windows
from models.data.questions import EncodedQuestions
from models.reading import (
    PassageMaterial,
    QuestionMaterial,
    ReadingOptions,
    ReadingRecipe,
    candidate_probabilities,
    losses,
    measure,
    reader_config,
)
from models.reading_sources import sample_clozes
from tests.models.reading_builders import rng, sentences

SHAPE = {"embedding": 12, "hidden": 12, "slots": 3, "readout": "placeholder", "match": True}


def recipe(questions, shape=SHAPE, **options):
    cutter = reading_vocabulary(())
    texts = [text for one in questions for text in (one.document, one.question)]
    vocabulary = reading_vocabulary(sorted({word for text in texts for word in cutter.split(text)}))
    config = reader_config("attention_sum_reader", shape, vocabulary)
    learning = ReadingOptions(**{"questions_a_batch": 8} | options)
    encoded = EncodedQuestions(questions, vocabulary, config.slots)
    material = QuestionMaterial(encoded, learning)
    return ReadingRecipe("attention_sum_reader", vocabulary, material, encoded, learning, config)


def test_the_loss_sums_over_the_mentions_of_the_answer():
    score = torch.tensor([[[0.5, -1.0, 2.0, 0.0]]])
    mention = torch.tensor([[[True, False, False, True]]])
    rival = torch.tensor([[[True, True, False, True]]])
    weights = score.exp()[0, 0]
    among_all, among_rivals = losses(score, mention, rival)
    answer = weights[0] + weights[3]
    torch.testing.assert_close(among_all[0, 0], -torch.log(answer / weights.sum()))
    torch.testing.assert_close(among_rivals[0, 0], -torch.log(answer / (answer + weights[1])))


def test_candidates_share_what_they_got_and_what_is_no_candidate_gets_nothing():
    score = torch.tensor([[1.0, 2.0, 1.0, 5.0], [-900.0, -901.0, FAR_BELOW, FAR_BELOW]])
    number = torch.tensor([[1, 2, 1, 0], [2, 1, 0, 0]])
    p = candidate_probabilities(score, number)
    assert p[:, 0].tolist() == [0, 0]
    torch.testing.assert_close(p.sum(dim=1), torch.ones(2))
    torch.testing.assert_close(p[0, 1], 2 * np.e / (2 * np.e + np.e**2) * torch.ones(()))
    assert p[1, 2] > p[1, 1] > 0


def test_a_tie_goes_to_the_first_candidate_whichever_is_the_answer():
    """Were the answer always the first candidate, a reader that knows nothing would win every tie."""
    document = "ada saw ben"
    questions = [Cloze(document, "@placeholder", word, ("ada", "ben")) for word in ("ada", "ben")]
    made = recipe(questions)

    class Undecided(torch.nn.Module):
        def forward(self, document_tokens, question_tokens):
            return torch.zeros(document_tokens.shape)

    _, wrong = measure(Undecided(), made.valid)
    assert wrong.tolist() == [False, True]


def test_an_answer_that_the_document_does_not_hold_counts_as_wrong():
    held = Cloze("ada saw ben", "@placeholder saw ben", "ada")
    made = recipe([held, Cloze("ada saw ben", "@placeholder saw ben", "carl")])
    _, wrong = measure(made.network(), made.valid)
    assert wrong[1]
    assert made.valid.answers.tolist() == [1, 0]


def test_eight_examples_can_be_learnt_by_heart():
    made = recipe(sample_clozes(5, seed=4)[:8])
    net = made.network()
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-2)
    for epoch in range(60):
        for batch in made.batches(epoch, 60, rng(epoch))[1]:
            loss, count = made.loss(net, batch)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    assert made.evaluate(net).error == 0
    assert count <= 8
    assert net.embedding.weight[0].abs().sum() == 0


def test_passages_teach_as_questions_do():
    vocabulary = reading_vocabulary(["ada", "ben", "norwich", "mill", "the"])
    config = reader_config("attention_sum_reader", SHAPE, vocabulary)
    articles = Articles([sentences()], vocabulary, config.slots)
    options = ReadingOptions(passages_a_batch=3)
    material = PassageMaterial(articles, Windows(context=3, ahead=2, questions=4), options)
    valid = EncodedQuestions(sample_clozes(3, seed=1), vocabulary, config.slots)
    made = ReadingRecipe("attention_sum_reader", vocabulary, material, valid, options, config)
    net = made.network()
    count, batches = made.batches(0, 1, rng())
    seen = 0
    for batch in batches:
        loss, documents = made.loss(net, batch)
        loss.backward()
        seen += documents
    assert 0 < seen <= count
    assert made.state() == {}


def test_groups_with_more_errors_are_drawn_more_often():
    made = recipe(sample_clozes(30, seed=2), questions_an_epoch=400)
    material = made.material
    material.error = [0.0, 0.9] + [0.0] * (len(material.error) - 2)
    drawn = np.concatenate([batch.group_B for batch in made.batches(0, 1, rng())[1]])
    assert len(drawn) == 400
    assert (drawn == 1).mean() > 0.7


def test_running_errors_survive_a_resumed_run():
    made, again = (recipe(sample_clozes(10, seed=2), questions_an_epoch=20) for _ in range(2))
    net = made.network()
    for batch in made.batches(0, 1, rng())[1]:
        made.loss(net, batch)
    again.restore(made.state())
    assert again.material.error == made.material.error != [1.0] * len(made.material.error)


def test_long_documents_can_be_left_out():
    questions = [*sample_clozes(5, seed=2), Cloze("ada " * 200 + "saw ben", "@placeholder saw ben", "ada")]
    made = recipe(questions, max_tokens=100)
    count, _ = made.batches(0, 1, rng())
    assert count == len(questions) - 1


def test_a_checkpoint_holds_what_a_server_needs():
    made = recipe(sample_clozes(5, seed=2), serve_max_tokens=99)
    saved = made.checkpoint(made.network(), {}, {})
    assert saved.limits["max_tokens"] == 99
    assert saved.limits["slots"] == 3
    assert "@placeholder" in saved.tokenizer
    assert saved.config["vocabulary"] == len(made.vocabulary) + 3


@pytest.mark.parametrize(
    ("questions", "options", "message"),
    [
        (sample_clozes(5, seed=2), {"serve_max_tokens": 5}, r"above 5: --set learning\.serve_max_tokens="),
        ([Cloze("ada saw ben", "who?", "carl")], {}, "no validation question has its answer"),
    ],
    ids=["too long", "nothing to measure"],
)
def test_what_cannot_be_measured_is_refused(questions, options, message):
    with pytest.raises(ValueError, match=message):
        recipe(questions, **options)


def test_rested_groups_and_large_errors_take_no_more_than_their_part():
    questions = sample_clozes(30, seed=2)
    groups = list(dict.fromkeys(one.group for one in questions))
    made = recipe(questions, questions_an_epoch=600, focus=10.0, ceiling=0.1, rested=(groups[0],))
    made.material.error = [0.9, 0.9, 0.1]
    drawn = np.concatenate([batch.group_B for batch in made.batches(0, 1, rng())[1]])
    shares = np.bincount(drawn, minlength=3) / len(drawn)
    assert shares[0] < 0.08
    assert abs(shares[1] - shares[2]) < 0.1
