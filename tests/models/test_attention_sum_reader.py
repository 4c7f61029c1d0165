import numpy as np
import pytest
import torch

from models.attention_sum_reader import (
    FAR_BELOW,
    AttentionSumReaderConfig,
    at_other_mentions,
    other_mentions,
    shifted,
    words_around,
)
from tests.models.reading_builders import HIDDEN, VARIANTS, VOCABULARY, cloze, reader, rng, stacked, words

every_variant = pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)


def attention(network, documents, questions):
    with torch.no_grad():
        return network(stacked(documents), stacked(questions)).softmax(dim=-1)


@every_variant
def test_padding_gets_no_attention_and_the_rest_sums_to_one(options):
    network, chance = reader(**options), rng()
    documents = [words(chance, count) for count in (11, 1, 6)]
    weights = attention(network, documents, [cloze(chance, count, 0) for count in (3, 5, 1)])
    for row, document in zip(weights, documents, strict=True):
        assert row[len(document) :].abs().sum() == 0
        assert row[: len(document)].sum() == pytest.approx(1, abs=1e-6)


@every_variant
def test_a_row_does_not_depend_on_what_is_beside_it(options):
    network, chance = reader(**options), rng(1)
    documents = [words(chance, count) for count in (2, 13, 7)]
    questions = [cloze(chance, 4, 1), cloze(chance, 2, 0), words(chance, 9)]
    together = attention(network, documents, questions)
    for row, document, question in zip(together, documents, questions, strict=True):
        alone = attention(network, [document], [question])[0]
        torch.testing.assert_close(row[: len(document)], alone, atol=1e-6, rtol=0)


@every_variant
def test_questions_about_one_document_are_answered_as_if_asked_alone(options):
    network, chance = reader(**options), rng(2)
    document = words(chance, 11)[None]
    questions = stacked([cloze(chance, 5, 3), cloze(chance, 3, 0), words(chance, 4)])
    with torch.no_grad():
        together = network.scores(document, questions[None])[0]
        apart = torch.stack([network(document, question[None])[0] for question in questions])
    assert together.shape == (3, 11)
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=0)


@every_variant
def test_gradients_reach_every_parameter(options):
    network, chance = reader(**options), rng(3)
    question = cloze(chance, 5, 2)
    document = torch.cat([words(chance, 9), question[:2], words(chance, 3), question[3:]])
    network.scores(document[None], question[None, None]).softmax(dim=-1)[0, 0, 3].backward()
    without = {name for name, weight in network.named_parameters() if not weight.grad.abs().sum() > 0}
    assert not without


def test_scores_that_are_all_negative_change_nothing():
    """A masked softmax that multiplies by the mask before the maximum would let padding win here."""
    network, chance = reader(), rng(4)
    documents, questions = [words(chance, 8), words(chance, 3)], [words(chance, 4), words(chance, 4)]
    with torch.no_grad():
        scores = network(stacked(documents), stacked(questions)) - 1000
    weights = scores.softmax(dim=-1)
    assert (scores < -900).all()
    assert weights[1, 3:].abs().sum() == 0
    assert weights[1].sum() == pytest.approx(1)
    assert float(scores[0].min()) - 1e6 > FAR_BELOW


def test_the_question_vector_is_the_last_state_of_either_direction():
    network, chance = reader(), rng(5)
    questions = [words(chance, 3), words(chance, 6)]
    with torch.no_grad():
        vectors = network.read_questions(stacked(questions))[0]
        states = network.question_encoder(network.embedding(questions[0][None]), torch.zeros(1, 3))[0]
    torch.testing.assert_close(vectors[0], torch.cat([states[-1, :HIDDEN], states[0, HIDDEN:]]))


def test_the_question_vector_is_taken_at_the_placeholder_where_there_is_one():
    network, chance = reader(readout="placeholder"), rng(6)
    question, plain = cloze(chance, 6, 2), words(chance, 4)
    with torch.no_grad():
        vectors = network.read_questions(stacked([question, plain]))[0]
        states = network.question_encoder(network.embedding(question[None]), torch.zeros(1, 6))[0]
        ends = reader().read_questions(plain[None])[0][0]
    torch.testing.assert_close(vectors[0], states[2])
    torch.testing.assert_close(vectors[1], ends)


def test_unknown_words_are_told_apart_by_their_slots():
    network = reader(readout="placeholder", match=True)
    first, second = VOCABULARY - 2, VOCABULARY - 1
    document = torch.tensor([[5, first, 7, 9, second, 8]])
    question = torch.tensor([[5, 2, 7]])
    network.document_encoder.requires_grad_(False)
    weights = attention(network, [document[0]], [question[0]])[0]
    swapped = attention(network, [torch.tensor([5, second, 7, 9, first, 8])], [question[0]])[0]
    assert not torch.allclose(weights, swapped)


def test_words_are_matched_at_the_same_distance_from_the_placeholder():
    around = words_around(torch.tensor([[[11, 12, 2, 13], [2, 14, 0, 0], [15, 16, 0, 0]]]), [-2, -1, 1, 2])
    assert around.tolist() == [[[11, 12, 13, -1], [-1, -1, 14, -1], [-1, -1, -1, -1]]]


def test_a_word_is_joined_by_what_was_and_what_will_be_told_of_it():
    words_NT = torch.tensor([[5, 7, 5, 9, 7, 5, 0, 0]])
    earlier_NT, later_NT = other_mentions(words_NT)
    assert earlier_NT[0, :6].tolist() == [0, 0, 1, 0, 2, 3]
    assert later_NT[0, :6].tolist() == [3, 5, 6, 0, 0, 0]
    ahead, back = torch.arange(1.0, 9), torch.arange(10.0, 90, 10)
    joined_TE = at_other_mentions(torch.stack([ahead, back], dim=1)[None], earlier_NT, later_NT)[0]
    assert joined_TE[:6, 0].tolist() == [0, 0, 1, 0, 2, 3]
    assert joined_TE[:6, 1].tolist() == [30, 50, 60, 0, 0, 0]


@pytest.mark.parametrize("offset", [-9, -2, -1, 1, 3, 9])
def test_shifting_brings_what_stands_further_on(offset):
    values = np.arange(1, 6)
    expected = [values[i + offset] if 0 <= i + offset < 5 else 0 for i in range(5)]
    assert shifted(torch.from_numpy(values)[None], offset)[0].tolist() == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hidden": 0}, "hidden must be at least 1, got 0"),
        ({"slots": 0}, "slots must be at least 1, got 0"),
        ({"linked": True}, "linked acts between layers, so layers must be at least 2"),
        ({"readout": "middle"}, "readout must be 'ends' or 'placeholder', got 'middle'"),
    ],
    ids=["no units", "no slots", "nothing to link", "unknown readout"],
)
def test_impossible_shapes_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        AttentionSumReaderConfig(**{"vocabulary": 100} | values)
