import numpy as np
import pytest

from models.data.cloze import reading_vocabulary
from server.errors import InputTooLong, InvalidRequest
from server.tasks.passages import Slots, number_candidates, read_passage

VOCABULARY = reading_vocabulary(["the", "saw", "ada"])


def test_every_unknown_word_has_one_slot_until_none_are_left():
    slots = Slots(VOCABULARY, 2)
    first = len(VOCABULARY)
    assert slots.ids(["ada", "zorb", "quux", "zorb"]).tolist() == [5, first, first + 1, first]
    assert slots.ids(["quux", "blip", "zorb"]).tolist() == [first + 1, first, first]
    assert list(slots.given) == ["zorb", "quux", "blip"]


def test_a_passage_keeps_the_places_of_its_words_in_the_text_as_it_was_written():
    text = "Zoe\u0301 saw \u201cTHE Mill\u201d, Ada's."
    passage = read_passage("document", text, VOCABULARY, 9, "max_tokens")
    assert passage.words == ["zo\u00e9", "saw", "the", "mill", "ada", "s"]
    assert passage.surface == ["Zoe\u0301", "saw", "THE", "Mill", "Ada", "s"]
    assert [text[start:end] for start, end in passage.places] == passage.surface


def test_the_longest_candidate_takes_a_place_where_several_fit():
    words = ["new", "york", "saw", "york", "and", "new", "new", "york"]
    candidates = {("york",): 1, ("new", "york"): 2, ("new",): 3}
    assert number_candidates(words, candidates).tolist() == [2, 2, 0, 1, 0, 3, 2, 2]


def test_no_candidate_is_found_half():
    assert not number_candidates(["new"], {("new", "york"): 1}).any()


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("...", InvalidRequest, "document has no words"),
        ("a b c d", InputTooLong, r"document has 4 words, this model takes 3 \(manifest: max_tokens\)"),
        ("x" * 121, InputTooLong, r"document has 121 characters, this model takes 120 \(3 words"),
    ],
    ids=["no words", "too many words", "too many characters"],
)
def test_what_is_no_passage_is_refused(text, error, message):
    with pytest.raises(error, match=message) as raised:
        read_passage("document", text, VOCABULARY, 3, "max_tokens")
    assert raised.value.details["fields"] == ["document"]


def test_ids_are_int64():
    assert Slots(VOCABULARY, 1).ids(["ada"]).dtype == np.int64
