import gzip
import json

import pytest

from models.data.cloze import Cloze
from models.data.cloze_files import parse_cbt, parse_cnn, parse_json_lines, parse_lambada, read_clozes

CBT = [
    *(f"{number} Sentence {number} names Ada and Ben .\n" for number in range(1, 21)),
    "21 Then XXXXX went home .\tAda\t\tZoe|Ada|Ben||Carl\n",
    "\n",
    "1 Another .\n",
    "2 It was XXXXX .\tBen\t\tBen|Ada\n",
]
CNN = (
    "http://example.com/1\n\n@entity3 met @entity1 and @entity3 left\n\nwho met @placeholder ?\n\n"
    "@entity1\n\n"
    "@entity1:Ada\n@entity3:Ben\n"
)


def test_cbt_gives_documents_of_twenty_sentences_and_candidates_in_alphabetical_order():
    first, second = parse_cbt(CBT, "valid")
    assert first.document.count("\n") == 19
    assert first.question == "Then @placeholder went home ."
    assert (first.answer, first.candidates) == ("Ada", ("Ada", "Ben", "Carl", "Zoe"))
    assert (second.document, second.answer) == ("Another .", "Ben")


def test_cnn_gives_the_entities_of_the_document_as_candidates():
    one = parse_cnn(CNN, "test")
    assert one.document == "@entity3 met @entity1 and @entity3 left"
    assert (one.answer, one.candidates) == ("@entity1", ("@entity1", "@entity3"))


def test_lambada_asks_for_the_last_word_after_the_last_sentence():
    lines = ["ada saw ben . `` hello , '' said ada , and waved to ben\n", "no sentence before this\n"]
    (one,) = parse_lambada(lines)
    assert one.document == "ada saw ben ."
    assert one.question == "`` hello , '' said ada , and waved to @placeholder"
    assert one.answer == "ben"


def test_json_lines_are_read_whatever_order_their_candidates_have():
    line = {"document": "A b.", "question": "Which?", "answer": "b", "candidates": ["b", "a"]}
    assert parse_json_lines([json.dumps(line), "\n"], "mine") == [Cloze("A b.", "Which?", "b", ("a", "b"))]


@pytest.mark.parametrize(
    ("parse", "lines", "message"),
    [
        (parse_cbt, ["1 A .\n", "2 Nothing is missing .\tA\t\tA|B\n"], "mine line 2: the query has no XXXXX"),
        (parse_cbt, ["Once upon a time\n"], "mine line 1: expected a number"),
        (parse_cnn, "http://example.com\n\nonly a document", "mine: expected address, document"),
        (parse_json_lines, ['{"document": "A", "question": "?"}'], "mine line 1: .*answer"),
        (parse_json_lines, ["not JSON"], "mine line 1"),
    ],
    ids=["no blank", "no number", "no query", "no answer", "no JSON"],
)
def test_a_broken_file_is_named_with_its_line(parse, lines, message):
    with pytest.raises(ValueError, match=message):
        parse(lines, "mine")


def test_the_form_is_known_from_the_file(tmp_path):
    (tmp_path / "cbt_valid.txt").write_text("".join(CBT))
    with gzip.open(tmp_path / "lambada_dev.txt.gz", "wt") as file:
        file.write("ada saw ben . ada waved to ben\n")
    folder = tmp_path / "cnn"
    folder.mkdir()
    (folder / "1.question").write_text(CNN)
    assert len(read_clozes(tmp_path / "cbt_valid.txt")) == 2
    assert read_clozes(tmp_path / "lambada_dev.txt.gz")[0].group == "lambada"
    assert read_clozes(folder)[0].answer == "@entity1"
