import numpy as np
import pytest

from models.data.cloze import (
    KINDS,
    NAME,
    NOUN,
    Cloze,
    cloze_questions,
    common_nouns,
    most_frequent_candidate,
    most_recent_candidate,
    read_sentence,
    reading_vocabulary,
    split_text,
    words_of_kind,
)
from models.data.wikitext import articles_of
from tests.models.reading_builders import sentences

CUTTER = reading_vocabulary(())


def questions(kind, count=50, seed=1, **sizes):
    return cloze_questions([sentences()], kind, count, seed, **{"context": 4, "candidates": 3} | sizes)


def test_text_is_cut_at_sentence_ends_and_not_after_initials_or_titles():
    text = 'Dr. Ada B. Lowe met Ben. "Hello!" she said. In the U.S. Army? Yes.\n3 of 5 fell. e.g. these'
    assert split_text(text) == [
        "Dr. Ada B. Lowe met Ben.",
        '"Hello!" she said.',
        "In the U.S. Army?",
        "Yes.",
        "3 of 5 fell. e.g. these",
    ]


def test_words_are_cut_alike_in_every_text():
    text = "Mary's U.S. friend paid 20,000.50, @placeholder said: north-east @entity7."
    assert CUTTER.split(text) == [
        *("mary", "s", "u.s.", "friend", "paid", "20,000.50", "@placeholder", "said", "north", "east"),
        "@entity7",
    ]


def test_names_are_capitalised_inside_a_sentence_and_nouns_are_listed():
    found = read_sentence('Ada said: "Time heals" to The Ben of Norwich in a dusty house', CUTTER)
    kinds = dict(zip(found.words, found.kinds, strict=True))
    assert [word for word, kind in kinds.items() if kind == NAME] == ["ben", "norwich"]
    assert [word for word, kind in kinds.items() if kind == NOUN] == ["house"]


def test_the_list_of_nouns_is_words_in_order():
    nouns = sorted(common_nouns())
    assert len(nouns) > 2000
    assert all(word.isalpha() and word.islower() for word in nouns)
    assert not {"the", "went", "beautiful", "other"} & common_nouns()


@pytest.mark.parametrize("kind", KINDS)
def test_a_question_asks_for_a_word_that_its_document_holds(kind):
    made = questions(kind)
    assert made
    for one in made:
        words = CUTTER.split(one.document)
        assert len(split_text(one.document)) == 4
        assert one.question.count("@placeholder") == 1
        assert len(set(one.candidates)) == 3
        assert {one.answer, *one.candidates} <= {*words}
        assert one.group == kind
        original = one.question.replace("@placeholder", one.answer)
        assert CUTTER.split(original) in [list(sentence.words) for sentence in sentences()]


def test_candidates_are_of_the_answers_kind():
    for kind in KINDS:
        of_kind = set(words_of_kind(sentences(), kind))
        assert all(set(one.candidates) <= of_kind for one in questions(kind))


def test_the_answer_has_no_place_of_its_own_among_the_candidates():
    """A release that puts the answer first gives it every tie."""
    places = [one.candidates.index(one.answer) for seed in range(30) for one in questions(NAME, seed=seed)]
    shares = np.bincount(places, minlength=3) / len(places)
    assert shares.min() > 0.15


def test_candidates_are_drawn_uniformly_from_the_words_and_not_from_their_mentions():
    drawn = [word for seed in range(60) for one in questions(NAME, seed=seed) for word in one.candidates]
    counts = {word: drawn.count(word) for word in ("ben", "london")}
    assert min(counts.values()) > 0


def test_the_same_seed_makes_the_same_questions():
    assert questions(NOUN, seed=3) == questions(NOUN, seed=3)
    assert questions(NOUN, seed=3) != questions(NOUN, seed=4)


def test_no_more_questions_are_made_than_wanted_and_none_without_enough_candidates():
    assert len(questions(NAME, count=2)) == 2
    assert questions(NAME, candidates=40) == []


def test_guessing_by_frequency_and_by_recency():
    document = ["a", "b", "b", "c", "a", "b", "c"]
    assert most_frequent_candidate(document, ["c", "a", "b"]) == "b"
    assert most_frequent_candidate(document, ["c", "a"]) == "a"  # the first to come, of equal ones
    assert most_recent_candidate(document, ["a", "b"]) == "b"
    assert most_recent_candidate(document, ["a", "b", "c", "z"]) == "c"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"document": " "}, "must not be empty"),
        ({"candidates": ("crab",)}, "'lobster' is not among the candidates"),
    ],
    ids=["no document", "answer no candidate"],
)
def test_what_cannot_be_asked_is_refused(values, message):
    fields = {"document": "A lobster.", "question": "What?", "answer": "lobster"}
    with pytest.raises(ValueError, match=message):
        Cloze(**fields | values)


def test_the_tokenised_release_is_put_together_again():
    lines = [
        " \n",
        " = The Mill = \n",
        " It cost 1 @,@ 500 pounds , or 3 @.@ 5 a year ( well @-@ spent ) . \n",
        " = = Later = = \n",
        " Ada 's mill fell . \n",
        " = A Second = \n",
        " It stands . \n",
    ]
    assert articles_of(lines) == [
        "It cost 1,500 pounds, or 3.5 a year (well-spent).\nAda's mill fell.",
        "It stands.",
    ]
