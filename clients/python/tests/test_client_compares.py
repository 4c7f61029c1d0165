"""Comparing models through the SDK and ``engram compare``."""

import json

import httpx2
import numpy as np
import pytest
from conftest import STORY, qa_payload
from test_client_translates import ABOUT, FOUND, TEXT
from typer.testing import CliRunner

import engram
from engram.cli.app import app
from engram.cli.compare import headline

FAILED = {"error": {"code": "model_not_found", "message": "there is no model 'c'", "details": {"models": []}}}
REQUEST = {"story": STORY, "question": "Where is the milk?", "top_k": None}


def comparison(task, results):
    return {"task": task, "models": list(results), "results": list(results.values())}


QA = comparison("qa", {"a": qa_payload(), "b:2": qa_payload(answer="hall", score=0.5), "c": FAILED})


@pytest.fixture
def client(server):
    with engram.Client(transport=httpx2.MockTransport(server)) as client:
        yield client


def test_every_model_has_its_answer_or_its_error(client, server):
    server.queue.append(httpx2.Response(200, json=QA))
    compared = client.compare("qa", REQUEST, ["a", "b:2", "c"])
    assert list(compared) == ["a", "b:2", "c"]
    assert (compared["a"].answer, compared["b:2"].answer) == ("garden", "hall")
    assert np.shape(compared["a"].attention.weights) == (3, 3)
    assert isinstance(compared["c"].as_exception(), engram.ModelNotFound)
    assert "b:2: hall (0.500)" in str(compared)
    asked = {"story": STORY, "question": "Where is the milk?"}
    assert server.bodies == [{"task": "qa", "request": asked, "models": ["a", "b:2", "c"]}]


def test_translations_and_tasks_of_newer_servers_are_read_too(client, server):
    one = {"translations": [FOUND], **ABOUT}
    two = {"translations": [FOUND, FOUND], **ABOUT}
    server.queue += [
        httpx2.Response(200, json=comparison(task, {"a": payload}))
        for task, payload in (("translate", one), ("translate", two), ("sing", {"song": "la"}))
    ]
    assert isinstance(client.compare("translate", {"text": TEXT})["a"], engram.Translation)
    several = client.compare("translate", {"texts": [TEXT, TEXT]})["a"]
    assert headline(several) == "Un chien. Deux. / Un chien. Deux."
    assert client.compare("sing", {})["a"] == {"song": "la"}
    assert headline({"song": "la"}) == '{"song": "la"}'


async def test_the_awaited_client_does_the_same(server):
    async with engram.AsyncClient(transport=httpx2.MockTransport(server)) as client:
        server.queue.append(httpx2.Response(200, json=QA))
        assert (await client.compare("qa", REQUEST))["a"].answer == "garden"
        assert await client.compare_picture("qa", REQUEST, format="png") == b"<picture/>"
        with pytest.raises(TypeError, match="expected a list of names"):
            await client.compare("qa", REQUEST, "a")


def run(server, *args, stdin=None):
    return CliRunner().invoke(app, ["compare", *args], obj=httpx2.MockTransport(server), input=stdin)


def test_the_command_shows_a_row_for_each_model(server, tmp_path):
    server.queue.append(httpx2.Response(200, json=QA))
    picture = tmp_path / "both.svg"
    result = run(
        server, "qa", json.dumps(REQUEST), "-m", "a", "-m", "b:2", "-m", "c", "--picture", str(picture)
    )
    rows = [line.split() for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert ["a", "garden", "0.998", "3.2"] in rows
    assert ["b:2", "hall", "0.500", "3.2"] in rows
    assert "there is no model 'c'" in result.stdout
    assert picture.read_bytes() == b"<picture/>"


def test_the_request_comes_from_a_file_or_standard_input(server, tmp_path):
    path = tmp_path / "question.json"
    path.write_text(json.dumps(REQUEST))
    for args, stdin in (([str(path)], None), (["-"], json.dumps(REQUEST))):
        server.queue.append(httpx2.Response(200, json=QA))
        result = run(server, "qa", *args, "--json", stdin=stdin)
        assert json.loads(result.stdout) == QA
    assert "models" not in server.bodies[0]


@pytest.mark.parametrize("request_", ["[1]", "{", ""], ids=["list", "broken", "empty"])
def test_what_is_no_json_object_is_refused(server, request_):
    result = run(server, "qa", "-", stdin=request_)
    assert result.exit_code == 2
    assert not server.requests


def test_without_any_answer_the_command_fails(server):
    server.queue.append(httpx2.Response(200, json=comparison("qa", {"c": FAILED})))
    result = run(server, "qa", "{}")
    assert result.exit_code == 1
    assert "no model has an answer" in result.stderr
