import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.api.hugging_face.spans import find, sentences
from server.contract.text import split_sentences

CONTEXT = "  Anna took the milk. Ben went to the hall!\n\nAnna went to the Hall. "


def test_sentences_are_where_they_are_read():
    assert [CONTEXT[start:end] for start, end in sentences(CONTEXT)] == [
        "Anna took the milk.",
        "Ben went to the hall!",
        "Anna went to the Hall.",
    ]


@given(st.text(alphabet="ab.?! \n\t", max_size=40))
def test_sentences_are_those_of_the_task(text):
    assert [text[start:end] for start, end in sentences(text)] == split_sentences(text)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("hall", "Hall"), ("milk", "milk"), ("anna", "Anna"), ("yes", "Anna went to the Hall."), ("all", None)],
)
def test_an_answer_is_found_in_the_weightiest_evidence_that_mentions_it(answer, expected):
    spans = sentences(CONTEXT)
    start, end = find(answer, CONTEXT, spans[::-1])
    assert CONTEXT[start:end] == (expected or "Anna went to the Hall.")
    assert start >= spans[-1][0] or answer == "milk"


def test_what_is_no_word_is_looked_for_as_it_stands():
    assert find("a.b(", "a a.b( c", [(0, 8)]) == (2, 6)
    assert find("axb", "a.b", [(0, 3)]) == (0, 3)


def test_without_evidence_there_is_nowhere_to_point():
    assert find("hall", CONTEXT, []) == (0, 0)
