"""Reading: what is sent, what comes back, and how the command shows it."""

import json

import httpx2
import pytest
from typer.testing import CliRunner

from engram import Client, ItemError, ReadAnswer
from engram.cli.app import app
from engram.reading import places_of

DOCUMENT = "Mary's lobster is blue.\nA crab is red.\n"
PAYLOAD = {
    "answer": "lobster",
    "score": 0.75,
    "candidates": [
        {"text": "lobster", "score": 0.75, "positions": [{"start": 7, "end": 14, "token": 2}]},
        {"text": "crab", "score": 0.25, "positions": [{"start": 26, "end": 30, "token": 6}]},
    ],
    "attention": {
        "kind": "token",
        "normalized_over": "token",
        "axes": [
            {"name": "answer", "labels": ["lobster"]},
            {"name": "token", "labels": ["Mary", "s", "lobster", "is", "blue", "A", "crab", "is", "red"]},
        ],
        "weights": [[0.01, 0.0, 0.6, 0.01, 0.1, 0.01, 0.2, 0.01, 0.06]],
        "offset": 0,
    },
    "warnings": ["a note"],
    "model": {"name": "reader", "version": 1},
    "timing_ms": {"queue": 0.1, "compute": 1.0, "total": 1.5},
    "batch_size": 1,
}


class Reader:
    """A server that answers every question alike and keeps what it was sent."""

    def __init__(self):
        self.bodies = []

    def __call__(self, request):
        body = json.loads(request.content)
        self.bodies.append(body)
        if request.headers["accept"] == "image/svg+xml":
            return httpx2.Response(200, content=b"<svg/>", headers={"content-type": "image/svg+xml"})
        if request.url.path.endswith("/batch"):
            error = {"error": {"code": "invalid_request", "message": "no words"}}
            results = [PAYLOAD if item["document"] else error for item in body["requests"]]
            return httpx2.Response(200, json={"results": results})
        return httpx2.Response(200, json=PAYLOAD)


@pytest.fixture
def reader():
    return Reader()


@pytest.fixture
def transport(reader):
    return httpx2.MockTransport(reader)


def test_an_answer_has_candidates_with_their_places(reader, transport):
    with Client(transport=transport) as client:
        answer = client.read(DOCUMENT, "The @placeholder is blue.", candidates=("lobster", "crab"))
    assert isinstance(answer, ReadAnswer)
    assert [DOCUMENT[one.positions[0].start : one.positions[0].end] for one in answer.candidates] == [
        "lobster",
        "crab",
    ]
    assert answer.attention.weights.shape == (1, 9)
    assert reader.bodies == [
        {
            "document": DOCUMENT,
            "question": "The @placeholder is blue.",
            "candidates": ["lobster", "crab"],
        }
    ]


def test_a_bad_item_spoils_only_itself(transport):
    with Client(transport=transport) as client:
        found = client.read_many([{"document": text, "question": "?"} for text in (DOCUMENT, "", DOCUMENT)])
    assert [type(one) for one in found] == [ReadAnswer, ItemError, ReadAnswer]
    assert found[1].index == 1


def test_a_misspelt_option_is_refused_before_anything_is_sent(reader, transport):
    with Client(transport=transport) as client, pytest.raises(TypeError, match="candidate"):
        client.read(DOCUMENT, "?", candidate=["lobster"])
    assert not reader.bodies


def test_words_are_found_in_order_in_the_document():
    words = PAYLOAD["attention"]["axes"][1]["labels"]
    assert [DOCUMENT[start:end] for start, end in places_of(words, DOCUMENT)] == words
    assert places_of(["is", "is"], DOCUMENT)[1][0] == DOCUMENT.rindex("is")


def test_the_command_shows_the_answer_in_its_place_and_the_weights(transport, tmp_path):
    path = tmp_path / "article.txt"
    path.write_text(DOCUMENT)
    picture = tmp_path / "article.svg"
    arguments = ["read", str(path), "The @placeholder is blue.", "-c", "lobster", "--picture", str(picture)]
    result = CliRunner().invoke(app, arguments, obj=transport)
    assert result.exit_code == 0, result.output
    assert "The lobster is blue." in result.stdout
    assert "lobster 0.60" in result.stdout
    assert "crab 0.20" in result.stdout
    assert "a note" in result.stderr
    assert picture.read_bytes() == b"<svg/>"


def test_the_command_prints_json_for_pipes(reader, transport):
    result = CliRunner().invoke(app, ["read", "-", "Where?", "--json"], input=DOCUMENT, obj=transport)
    assert json.loads(result.stdout) == PAYLOAD
    assert reader.bodies[0]["document"] == DOCUMENT


def test_a_long_document_is_shown_where_it_was_looked_at(transport):
    text = DOCUMENT + "It is so.\n" * 20
    shown = CliRunner().invoke(app, ["read", "-", "Where?"], input=text, obj=transport).stdout
    whole = CliRunner().invoke(app, ["read", "-", "Where?", "--all"], input=text, obj=transport).stdout
    assert "20 more lines" in shown
    assert "It is so." not in shown
    assert whole.count("It is so.") == 20
