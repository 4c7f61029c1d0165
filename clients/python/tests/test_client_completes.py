"""Completing text through the SDK and ``engram complete``: whole answers, streams, states, pictures."""

import json

import httpx2
import numpy as np
import pytest
from conftest import error_reply
from typer.testing import CliRunner

import engram
from engram.cli.app import app
from engram.completing import Completion, WrittenWord

LABELS = ["Ada", "Byron", "sailed", "<sentinel>"]


def word_payload(word, probability, pointed, **changes):
    payload = {
        "word": word,
        "text": f" {word}",
        "probability": probability,
        "from_pointer": pointed,
        "from_vocabulary": probability - pointed,
        "sentinel_gate": 0.5,
        "alternatives": [
            {"word": word, "probability": probability, "from_pointer": pointed, "from_vocabulary": 0.0},
            {"word": "was", "probability": 0.125, "from_pointer": 0.0, "from_vocabulary": 0.125},
        ],
        "attention": {
            "kind": "pointer_mixture",
            "normalized_over": "window",
            "axes": [{"name": "window", "labels": LABELS}],
            "weights": [0.0, 0.375, 0.125, 0.5],
            "offset": 4,
        },
    }
    return payload | changes


WORDS = [word_payload("Byron", 0.5, 0.5), word_payload("wrote", 0.25, 0.0, attention=None)]
PAYLOAD = {
    "text": " Byron wrote",
    "score": 0.354,
    "words": WORDS,
    "state": "c3RhdGU=",
    "warnings": ["not known to this model and read as <unk>: Lisboa"],
    "model": {"name": "pointer-sentinel-wikitext", "version": 1},
    "timing_ms": {"queue": 0.1, "compute": 2.0, "total": 3.2},
    "batch_size": 1,
}


def events(*frames):
    return b"".join(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode() for name, data in frames)


STREAM = events(("word", WORDS[0]), ("word", WORDS[1]), ("done", PAYLOAD))


def streamed(content, pieces=7):
    chunks = [content[start : start + pieces] for start in range(0, len(content), pieces)]
    return httpx2.Response(200, content=iter(chunks), headers={"Content-Type": "text/event-stream"})


class LanguageServer:
    def __init__(self):
        self.requests = []
        self.stream = STREAM

    def __call__(self, request):
        self.requests.append(request)
        accept = request.headers["Accept"]
        if accept.startswith("image/"):
            return httpx2.Response(200, content=b"<svg/>", headers={"Content-Type": accept})
        if accept == "text/event-stream":
            return self.stream if isinstance(self.stream, httpx2.Response) else streamed(self.stream)
        if request.url.path.endswith("/batch"):
            bad = {"error": {"code": "input_too_long", "message": "too long", "details": {}}}
            items = json.loads(request.content)["requests"]
            return httpx2.Response(
                200, json={"results": [bad if item["text"] == "" else PAYLOAD for item in items]}
            )
        return httpx2.Response(200, json=PAYLOAD, headers={"X-Request-Id": "r-7"})

    @property
    def body(self):
        return json.loads(self.requests[-1].content)


@pytest.fixture
def language():
    return LanguageServer()


@pytest.fixture
def client(language):
    with engram.Client("http://engram.test", transport=httpx2.MockTransport(language)) as made:
        yield made


def test_a_completion_has_its_words_and_where_they_come_from(client, language):
    answer = client.complete("Ada Byron sailed. Ada", max_words=2, temperature=0.5, state=None)
    assert language.body == {"text": "Ada Byron sailed. Ada", "max_words": 2, "temperature": 0.5}
    assert str(answer) == answer.text == " Byron wrote"
    first, second = answer.words
    assert (first.word, first.probability, first.from_pointer, first.sentinel_gate) == (
        "Byron",
        0.5,
        0.5,
        0.5,
    )
    assert [str(choice) for choice in first.alternatives] == ["Byron (0.500)", "was (0.125)"]
    np.testing.assert_array_equal(first.attention.weights, [0.0, 0.375, 0.125, 0.5])
    assert second.attention is None
    assert (answer.state, answer.request_id) == ("c3RhdGU=", "r-7")
    assert "c3RhdGU=" not in repr(answer)


def test_a_misspelt_option_is_found_before_anything_is_sent(client, language):
    with pytest.raises(TypeError, match="unknown option 'words'"):
        client.complete("Ada", words=3)
    assert language.requests == []


def test_words_come_as_they_are_written(client, language):
    seen = list(client.complete_stream("Ada", max_words=2))
    assert language.requests[0].headers["Accept"] == "text/event-stream"
    assert [type(event) for event in seen] == [WrittenWord, WrittenWord, Completion]
    assert "".join(map(str, seen[:2])) == seen[2].text


async def test_words_come_from_asyncio_too(language):
    async with engram.AsyncClient("http://engram.test", transport=httpx2.MockTransport(language)) as client:
        language.stream = httpx2.Response(200, content=STREAM)
        seen = [event async for event in client.complete_stream("Ada")]
        assert [type(event) for event in seen] == [WrittenWord, WrittenWord, Completion]
        assert (await client.complete("Ada")).text == seen[2].text
        assert len(await client.complete_many([{"text": "Ada"}])) == 1
        assert await client.complete_picture("Ada") == b"<svg/>"


@pytest.mark.parametrize(
    ("stream", "error"),
    [
        (
            events(("word", WORDS[0]), ("error", {"error": {"code": "internal", "message": "no"}})),
            engram.ServerError,
        ),
        (events(("word", WORDS[0])), engram.ConnectionFailed),
        (events(("word", {"word": "Byron"})), engram.UnexpectedResponse),
        (events(("done", {"text": 1})), engram.UnexpectedResponse),
        (
            httpx2.Response(422, json={"error": {"code": "invalid_request", "message": "no"}}),
            engram.InvalidRequest,
        ),
    ],
    ids=["failure on the way", "cut short", "not a word", "not an answer", "refused"],
)
def test_a_stream_that_fails_says_why(client, language, stream, error):
    language.stream = stream
    with pytest.raises(error):
        list(client.complete_stream("Ada"))
    assert len(language.requests) == 1  # it is never sent again


def test_events_of_a_newer_server_are_passed_over(client, language):
    language.stream = b": hello\n\n" + events(("mood", {}), ("done", PAYLOAD)).replace(b"\n", b"\r\n")
    (answer,) = client.complete_stream("Ada")
    assert answer.text == " Byron wrote"


def test_many_texts_are_continued_in_order(client):
    good, bad = client.complete_many([{"text": "Ada", "max_words": 2}, {"text": ""}])
    assert good.text == " Byron wrote"
    assert isinstance(bad.as_exception(), engram.InputTooLong)


def test_a_picture_is_asked_for_by_its_type(client, language):
    assert client.complete_picture("Ada", format="png", max_words=2) == b"<svg/>"
    assert language.requests[0].headers["Accept"] == "image/png"
    with pytest.raises(ValueError, match="format is 'gif'"):
        client.complete_picture("Ada", format="gif")


def run(language, *arguments, **options):
    transport = httpx2.MockTransport(language)
    return CliRunner().invoke(app, ["complete", *map(str, arguments)], obj=transport, **options)


def test_the_command_prints_the_text_and_where_each_word_comes_from(language):
    result = run(language, "Ada Byron sailed. Ada", "--words", 2)
    assert result.exit_code == 0, result.output
    assert language.body == {"text": "Ada Byron sailed. Ada", "max_words": 2, "return_state": False}
    assert "Ada Byron sailed. Ada Byron wrote" in result.stdout
    (row,) = [line for line in result.stdout.splitlines() if line.strip().startswith("Byron ")]
    for cell in ("0.500", "100%", "Byron 0.38", "sailed 0.12", "was (0.125)"):
        assert cell in row
    assert "Lisboa" in result.stderr


def test_the_command_reads_standard_input_and_prints_json(language):
    result = run(language, "-", "--json", "--temperature", 0.5, "--seed", 3, input="Ada sailed")
    assert language.body == {"text": "Ada sailed", "temperature": 0.5, "seed": 3, "return_state": False}
    assert json.loads(result.stdout)["text"] == " Byron wrote"


def test_the_command_keeps_a_state_in_a_file_and_goes_on_from_it(language, tmp_path):
    kept = tmp_path / "ada.state"
    assert run(language, "Ada", "--state", kept).exit_code == 0
    assert "state" not in language.body
    assert kept.read_text() == "c3RhdGU=\n"
    assert run(language, "sailed", "--state", kept).exit_code == 0
    assert language.body == {"text": "sailed", "state": "c3RhdGU="}


def test_the_command_draws_a_picture(language, tmp_path):
    assert run(language, "Ada", "--picture", tmp_path / "ada.svg").exit_code == 0
    assert (tmp_path / "ada.svg").read_bytes() == b"<svg/>"


def test_an_error_has_a_line_of_its_own(language):
    language.stream = error_reply(422, "invalid_request", "state cannot be taken up")
    result = run(language, "Ada")
    assert result.exit_code == 1
    assert result.output.endswith("\nAda\nengram: state cannot be taken up\n")


def test_a_state_that_cannot_be_read_is_wrong_usage(language, tmp_path):
    (tmp_path / "ada.state").write_bytes(b"\xff")
    result = run(language, "Ada", "--state", tmp_path / "ada.state")
    assert result.exit_code == 2
    assert "cannot read the state" in result.stderr
