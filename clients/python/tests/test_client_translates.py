"""Translating through the SDK and ``engram translate``: texts, streams, pictures, and files line by line."""

import json
import threading

import httpx2
import numpy as np
import pytest
from conftest import error_reply
from typer.testing import CliRunner

import engram
from engram.cli.app import app
from engram.cli.bulk import chunks, in_order
from engram.cli.translate_lines import CHARACTERS_AT_ONCE, LINES_AT_ONCE

TEXT = "A dog runs. Two maps."
ABOUT = {
    "warnings": ["text was cut in 1 places"],
    "model": {"name": "translate-en-fr-attention", "version": 1},
    "timing_ms": {"queue": 0.1, "compute": 2.0, "total": 3.2},
    "batch_size": 2,
}
WEIGHTS = [[0.75, 0.25, 0.0, 0.0], [0.125, 0.875, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]
TOKENS, SOURCE = ["Un", "chien", "Deux"], ["dog", "[END]", "maps", "[END]"]
FOUND = {
    "text": "Un chien. Deux.",
    "score": -0.25,
    "finish_reason": "end",
    "source_tokens": SOURCE,
    "tokens": TOKENS,
    "attention": {
        "kind": "alignment",
        "normalized_over": "source_token",
        "axes": [{"name": "step", "labels": TOKENS}, {"name": "source_token", "labels": SOURCE}],
        "weights": WEIGHTS,
        "offset": 0,
    },
    "sentences": [
        {
            "start": 0,
            "end": 11,
            "text_start": 0,
            "text_end": 9,
            "source_tokens": [0, 2],
            "tokens": [0, 2],
            "score": -0.5,
            "finish_reason": "end",
            "begins_after": "sentence",
        },
        {
            "start": 12,
            "end": 21,
            "text_start": 10,
            "text_end": 15,
            "source_tokens": [2, 4],
            "tokens": [2, 3],
            "score": -0.125,
            "finish_reason": "end",
            "begins_after": "clause",
        },
    ],
}
TOKEN = {
    "event": "token",
    "index": 0,
    "sentence": 1,
    "token": "Deux",
    "text": " Deux",
    "score": -0.125,
    "attention": {
        "kind": "alignment",
        "normalized_over": "source_token",
        "axes": [{"name": "source_token", "labels": SOURCE[2:]}],
        "weights": [1.0, 0.0],
        "offset": 0,
    },
}


def frames(*events):
    return b"".join(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode() for name, data in events)


STREAM = frames(
    ("token", {**TOKEN, "text": "Un chien."}), ("token", TOKEN), ("done", {"translations": [FOUND], **ABOUT})
)


def loud(request):
    """Answer as a translator that shouts; ``bad`` is an error, and ``busy`` is one the first time."""
    body = json.loads(request.content)
    if "text" in body:
        return httpx2.Response(200, json={"translations": [FOUND], **ABOUT})

    def one(text):
        if text == "bad" or (text == "busy" and len(body["texts"]) > 1):
            code = "overloaded" if text == "busy" else "input_too_long"
            return {"error": {"code": code, "message": f"no {text}", "details": {}}}
        return {**FOUND, "text": text.upper(), "attention": None}

    return httpx2.Response(200, json={"translations": [one(text) for text in body["texts"]], **ABOUT})


@pytest.fixture
def client(server):
    server.usual = loud
    with engram.Client(transport=httpx2.MockTransport(server)) as client:
        yield client


@pytest.fixture
def run(server):
    server.usual = loud

    def invoke(*args, stdin=None):
        return CliRunner().invoke(app, ["translate", *args], obj=httpx2.MockTransport(server), input=stdin)

    return invoke


def test_a_text_comes_back_with_where_the_model_looked(client, server):
    found = client.translate(TEXT, target="fr", beam_size=4)
    assert str(found) == found.text == "Un chien. Deux."
    assert (found.score, found.finish_reason, found.batch_size) == (-0.25, "end", 2)
    assert found.attention.weights.tolist() == np.float32(WEIGHTS).tolist()
    last = found.sentences[1]
    assert (TEXT[last.start : last.end], found.text[last.text_start : last.text_end]) == (
        "Two maps.",
        "Deux.",
    )
    assert (found.tokens[slice(*last.tokens)], last.begins_after) == (("Deux",), "clause")
    assert found.warnings == ("text was cut in 1 places",)
    assert str(found.model) == "translate-en-fr-attention:1"
    assert server.bodies == [{"text": TEXT, "target": "fr", "beam_size": 4}]


def test_any_number_of_texts_keep_their_order_and_one_that_is_wrong_its_place(client, server):
    texts = [f"text {number}" for number in range(300)]
    texts[257] = "bad"
    found = client.translate(texts, target="fr")
    assert [len(body["texts"]) for body in server.bodies] == [256, 44]
    assert [one.text for one in found[:257]] == [text.upper() for text in texts[:257]]
    assert isinstance(found[257], engram.ItemError)
    assert found[257].index == 257
    assert isinstance(found[257].as_exception(), engram.InputTooLong)
    assert client.translate([]) == []


def test_a_misspelt_option_is_refused_before_anything_is_sent(client, server):
    with pytest.raises(TypeError, match="unknown option 'beam'"):
        client.translate(TEXT, beam=4)
    assert not server.requests


def test_tokens_come_first_and_the_whole_translation_last(client, server):
    server.queue.append(httpx2.Response(200, content=STREAM, headers={"Content-Type": "text/event-stream"}))
    *tokens, whole = client.translate_stream(TEXT, target="fr")
    assert server.requests[0].headers["accept"] == "text/event-stream"
    assert "".join(map(str, tokens)) == "Un chien. Deux"
    assert (tokens[1].sentence, tokens[1].token, tokens[1].attention.weights.tolist()) == (
        1,
        "Deux",
        [1.0, 0.0],
    )
    assert isinstance(whole, engram.Translation)


async def test_the_awaited_client_does_the_same(server):
    server.usual = loud
    async with engram.AsyncClient(transport=httpx2.MockTransport(server)) as client:
        assert (await client.translate(TEXT)).text == "Un chien. Deux."
        assert [one.text for one in await client.translate(["a", "b"])] == ["A", "B"]
        server.queue.append(httpx2.Response(200, content=STREAM))
        events = [event async for event in client.translate_stream(TEXT)]
        assert isinstance(events[-1], engram.Translation)
        picture = httpx2.Response(200, content=b"<svg/>", headers={"Content-Type": "image/svg+xml"})
        server.queue.append(picture)
        assert await client.translate_picture(TEXT) == b"<svg/>"


def test_an_answer_of_another_number_of_texts_is_no_answer(client, server):
    server.queue.append(httpx2.Response(200, json={"translations": [FOUND], **ABOUT}))
    with pytest.raises(engram.UnexpectedResponse, match="1 translations for 2 texts"):
        client.translate(["a", "b"])


def test_a_file_comes_out_line_by_line_in_order(run, server, tmp_path):
    lines = [f"line {number}" for number in range(3 * LINES_AT_ONCE + 5)]
    lines[7], lines[8], lines[40] = "", "-----", "busy"
    source = tmp_path / "book.txt"
    source.write_text("\ufeff" + "\n".join(lines) + "\n")
    result = run(str(source), "--to", "fr", "--beam", "2")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [line.upper() for line in lines]
    assert {request.headers["x-priority"] for request in server.requests} == {"batch"}
    assert all(body["attention"] == "none" for body in server.bodies)
    assert sorted(len(body["texts"]) for body in server.bodies) == [1, 5, 30, 32, 32]


def test_a_line_that_cannot_be_translated_comes_out_empty_and_is_told(run, tmp_path):
    output = tmp_path / "out.txt"
    result = run("--to", "fr", "--output", str(output), stdin="a\nbad\nc")
    assert result.exit_code == 1
    assert output.read_text() == "A\n\nC\n"
    assert "engram: line 2: no bad" in result.stderr
    assert "1 lines have no translation" in result.stderr


def test_lines_as_json_keep_what_they_were(run):
    result = run("-", "--json", stdin="a\n\nbad\n")
    first, blank, wrong = map(json.loads, result.stdout.splitlines())
    assert (first["source"], first["text"], first["model"]["version"]) == ("a", "A", 1)
    assert blank == {"source": "", "text": ""}
    assert wrong["error"]["code"] == "input_too_long"


def strict(request):
    """Answer as ``loud`` does, but to so many characters at most."""
    length = sum(map(len, json.loads(request.content)["texts"]))
    return error_reply(422, "input_too_long", "texts are too long") if length > 10 else loud(request)


def test_lines_that_are_too_long_together_go_alone_and_one_that_is_too_long_alone_is_told(run, server):
    server.usual = strict
    result = run("-", stdin="four\nline\n\nmuch too long\nend\n")
    assert result.stdout == "FOUR\nLINE\n\n\nEND\n"
    assert result.stderr.splitlines()[0] == "engram: line 4: texts are too long"
    assert result.exit_code == 1


def test_long_lines_share_a_request_with_fewer_others(run, server):
    lines = ["a" * (CHARACTERS_AT_ONCE // 2)] * 3 + ["b" * (2 * CHARACTERS_AT_ONCE), "c"]
    assert run("-", stdin="\n".join(lines)).stdout.splitlines() == [line.upper() for line in lines]
    assert sorted(len(body["texts"]) for body in server.bodies) == [1, 1, 1, 2]


def test_the_text_itself_is_never_written_over(run, tmp_path):
    path = tmp_path / "book.txt"
    path.write_text("a\nb\n")
    result = run(str(path), "--output", str(path.parent / "." / "book.txt"))
    assert (result.exit_code, path.read_text()) == (2, "a\nb\n")
    assert "is the text itself" in result.stderr


def test_one_text_shows_what_every_token_looked_at(run, server, tmp_path):
    server.queue.append(httpx2.Response(200, content=STREAM))
    server.queue.append(httpx2.Response(200, content=b"<svg/>", headers={"Content-Type": "image/svg+xml"}))
    result = run("--text", TEXT, "--to", "fr", "--picture", str(tmp_path / "a.svg"))
    assert result.exit_code == 0
    assert "Un chien. Deux" in result.stdout
    assert "Two maps." in result.stdout
    assert any(
        line.split() == ["chien", "dog", "[END]", "[END]", "0.88", "dog", "0.12"]
        for line in result.stdout.splitlines()
    )
    assert "alignment" in result.stdout
    assert "text was cut" in result.stderr
    assert (tmp_path / "a.svg").read_bytes() == b"<svg/>"


def test_one_text_as_json_is_one_line(run):
    result = run("--text", TEXT, "--json")
    assert json.loads(result.stdout)["text"] == "Un chien. Deux."


@pytest.mark.parametrize(
    ("args", "stdin", "said"),
    [
        (["--picture", "a.svg"], "a", "--picture draws one text"),
        (["nowhere.txt"], None, "cannot read the text 'nowhere.txt'"),
        (["-"], b"ok\n\xff\n", "line 2 of standard input is not UTF-8"),
        (["-", "-o", "nowhere/out.txt"], "a", "cannot write"),
    ],
    ids=["picture", "missing", "bytes", "output"],
)
def test_what_cannot_be_done_is_said_in_one_line(run, args, stdin, said):
    result = run(*args, stdin=stdin)
    assert result.exit_code == 2
    assert said in result.stderr


def test_long_work_reads_no_further_than_it_must():
    read, gate = [], threading.Event()

    def items():
        for number in range(1000):
            read.append(number)
            yield str(number)

    pieces = chunks(items(), 10, 10_000)
    results = in_order(pieces, lambda chunk: gate.wait(10) and sum(map(int, chunk)), workers=2)
    gate.set()
    assert next(results) == ([str(number) for number in range(10)], 45)
    assert len(read) == 40
    results.close()
