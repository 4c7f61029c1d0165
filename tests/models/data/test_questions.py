import numpy as np

from models.data.cloze import Cloze, reading_vocabulary
from models.data.questions import EncodedQuestions, baselines
from tests.models.reading_builders import rng

DOCUMENT = "Ada saw Ben.\nBen saw Zorblax and New York.\nYork saw Ben."
QUESTIONS = [
    Cloze(DOCUMENT, "@placeholder saw York", "Ben", ("Ada", "Ben", "Zorblax"), "names"),
    Cloze(DOCUMENT, "He saw @placeholder", "New York", ("Ada", "New York", "York"), "phrases"),
    Cloze(DOCUMENT, "Whom did Ben see?", "Zorblax", (), "plain", (1,)),
    Cloze(DOCUMENT, "Who?", "Carl", (), "plain"),
]
KNOWN = ("ada", "ben", "saw", "and", "york", "new")
SLOTS = 3


def encoded(questions=QUESTIONS):
    return EncodedQuestions(questions, reading_vocabulary(KNOWN), SLOTS)


def test_candidates_of_several_words_take_the_words_of_the_longest():
    made = encoded()
    assert made.numbers[1].tolist() == [1, 0, 0, 0, 0, 0, 0, 2, 2, 3, 0, 0]
    assert made.answers.tolist()[:2] == [2, 2]


def test_without_candidates_every_word_is_one_and_an_answer_that_is_not_there_is_none():
    made = encoded()
    assert made.answers[3] == 0
    assert len(set(made.numbers[2].tolist())) == 7
    assert 0 not in made.numbers[2]


def test_the_same_unknown_word_has_one_slot_in_document_and_question():
    made = encoded([Cloze("Zorblax saw Quux.", "@placeholder saw Quux", "Zorblax")])
    document, question = made.documents[0], made.asked[0]
    assert document[0] != document[2]
    assert question[2] == document[2]


def test_slots_trade_places_between_batches_and_stay_apart_within_one():
    made = encoded()
    batch = made.batch(np.array([0, 2]), rng(3))
    plain = made.batch(np.array([0, 2]))
    known = plain.document_BT < made.first_slot
    assert (batch.document_BT[known] == plain.document_BT[known]).all()
    drawn = {int(made.batch(np.array([2]), rng(seed)).document_BT.max()) for seed in range(20)}
    assert len(drawn) == SLOTS


def test_only_mentions_in_the_evidence_are_to_be_looked_at():
    line = Cloze(DOCUMENT, "Whom did York see?", "Ben", (), "plain", (2,))
    made = encoded([line, Cloze(DOCUMENT, "Whom did York see?", "Ben", (), "plain")])
    assert np.flatnonzero(made.proofs[0]).tolist() == [11]
    assert np.flatnonzero(made.proofs[1]).tolist() == [2, 3, 11]


def test_batches_hold_every_question_once_and_no_more_words_than_allowed():
    made = encoded(QUESTIONS * 3)
    cuts = list(made.batches(np.arange(12), 25, 5, rng(0)))
    assert sorted(np.concatenate(cuts).tolist()) == list(range(12))
    assert all(len(cut) * 12 <= 25 for cut in cuts)


def test_the_baselines_count_mentions_of_whole_candidates():
    frequent, recent = baselines(QUESTIONS, reading_vocabulary(()))
    assert frequent.tolist() == [True, False, False, False]
    assert recent.tolist() == [True, False, False, False]
