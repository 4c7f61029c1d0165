import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.tasks.sentences import Piece, joined, sentences, shortened

SCRAPS = ["A dog", "Mr.", ". ", "! ", "\n", "\r\n\r\n", "é", "🎉", '"', "(", ") ", ", ", "; ", " — ", "3.5"]
TEXTS = st.lists(st.sampled_from(SCRAPS), max_size=30).map("".join)


def of(text, pieces):
    return [text[piece.start : piece.end] for piece in pieces]


def words(text):
    """Cut a text as a model would that knows whole words of three letters, and else letters."""
    ends, start = [], 0
    for word in text.split(" "):
        size = len(word.encode())
        ends += [start + len(word)] if size <= 3 else [start + place + 1 for place in range(len(word))]
        start += len(word) + 1
    return ends


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("en", "Dr. Grey paid 3.50. He left! ", ["Dr. Grey paid 3.50.", "He left!"]),
        ("de", "Er kam am 3. Oktober an. Dann ging er.", ["Er kam am 3. Oktober an.", "Dann ging er."]),
        ("de-AT", "Am 3. Mai.", ["Am 3. Mai."]),
        ("fr", "Elle rit. « Oui. »", ["Elle rit.", "« Oui. »"]),
        ("tlh", "One. Two.", ["One.", "Two."]),
        ("en", "a line\nanother\r\n\r\nA third", ["a line", "another", "A third"]),
        ("en", "Above.\n-----\n  Below?  ", ["Above.", "Below?"]),
        ("en", " … \n", []),
    ],
    ids=["abbreviation", "ordinal", "region", "quotes", "unknown language", "lines", "ruler", "nothing"],
)
def test_sentences_end_where_a_reader_says(language, text, expected):
    assert of(text, sentences(text, language)) == expected


@pytest.mark.parametrize(
    ("text", "most", "expected"),
    [
        ("The fox ran; the dog sat, too", 9, [("The fox ran;", "sentence"), ("the dog sat, too", "clause")]),
        ("One fox ran, one dog sat", 8, [("One fox ran,", "sentence"), ("one dog sat", "clause")]),
        ("aaa bbb ccc ddd eee fff", 5, [("aaa bbb ccc ddd eee", "sentence"), ("fff", "word")]),
        ("abcdefghijkl", 5, [("abcde", "sentence"), ("fghij", "character"), ("kl", "character")]),
        ("aaa bbb", 5, [("aaa bbb", "sentence")]),
    ],
    ids=["semicolon", "comma", "words", "one long word", "short enough"],
)
def test_a_long_sentence_is_cut_at_the_best_place(text, most, expected):
    parts = shortened(text, sentences(text, "en"), words, most)
    assert [(text[part.start : part.end], part.begins_after) for part in parts] == expected


@given(TEXTS, st.integers(1, 9))
@settings(max_examples=200, deadline=None)
def test_a_text_comes_back_whole_and_no_piece_is_too_long(text, most):
    pieces = shortened(text, sentences(text, "en"), words, most)
    whole, starts = joined(text, pieces, of(text, pieces))
    assert whole == text
    assert starts == [piece.start for piece in pieces]
    assert all(len(words(part)) <= most or len(part) == 1 for part in of(text, pieces))
    assert all(part == part.strip() != "" for part in of(text, pieces))


def test_what_stood_between_sentences_stands_between_their_translations():
    text = "  One.\n\n* Two?  Three "
    pieces = list(sentences(text, "en"))
    whole, starts = joined(text, pieces, ["Un.", "Deux ?", "Trois"])
    assert whole == "  Un.\n\n* Deux ?  Trois "
    assert [whole[start:][:2] for start in starts] == ["Un", "De", "Tr"]


def test_characters_of_several_pieces_are_looked_at_a_few_times():
    looked = []

    def ends(text):
        looked.append(len(text))
        return [place + 1 for place, character in enumerate(text) for _ in character.encode()]

    text = "\u6f22" * 2000
    parts = shortened(text, sentences(text, "en"), ends, 30)
    assert {part.end - part.start for part in parts} == {10}
    assert sum(looked) < 8 * len(text)


def test_a_huge_sentence_is_cut_with_few_looks():
    looks = []

    def ends(text):
        looks.append(len(text))
        return words(text)

    text = "aaa " * 20_000
    parts = shortened(text, [Piece(0, len(text) - 1)], ends, 100)
    assert max(len(words(part)) for part in of(text, parts)) == 100
    assert sum(looks) < 4 * len(text)
