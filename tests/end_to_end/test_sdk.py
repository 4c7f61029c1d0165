"""The SDK against the whole application and a trained bundle: in process, and over a real port."""

import json
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import numpy as np
import pytest
from typer.testing import CliRunner

from engram import AsyncClient, Client, InputTooLong, ItemError, ModelNotFound, UnknownWords
from engram.cli.app import app as command
from server.app import create_app
from server.settings import Settings
from tests.processes import ServerProcess
from tests.server.copying import copying_repository

BUNDLES = Path(__file__).parents[1] / "data" / "model_repository"
STORY = ["Ada walked to the attic.", "Ben walked to the cellar.", "Ben took the lamp.", "Ada took the map."]
QUESTION = "Where is the lamp?"


@asynccontextmanager
async def client_of_the_application():
    app = create_app(Settings(model_repository=BUNDLES, grpc_port=0))
    transport = httpx2.ASGITransport(app=app)
    async with app.router.lifespan_context(app), AsyncClient("http://engram", transport=transport) as client:
        yield client


@pytest.fixture(scope="module")
def server():
    server = ServerProcess(BUNDLES)
    yield f"http://127.0.0.1:{server.port}"
    server.kill()


async def test_an_answer_comes_with_where_the_model_looked():
    async with client_of_the_application() as client:
        answer = await client.ask(STORY, QUESTION)
    assert answer.answer == "cellar"
    assert answer.attention.kind == "episodic_gate"
    assert answer.attention.shape == (3, len(STORY))
    assert answer.attention.axis("fact").labels == tuple(STORY)
    np.testing.assert_allclose(answer.attention.weights.sum(axis=1), 1, atol=1e-5)
    assert {fact.index for fact in answer.evidence[:2]} == {1, 2}
    assert len(answer.hops) == 3


async def test_a_batch_keeps_its_order_and_a_bad_item_spoils_only_itself():
    requests = [{"story": STORY[:length], "question": "Where is Ada?"} for length in (4, 1, 2, 3)]
    requests.insert(2, {"story": ["Zorro walked to the attic."], "question": "Where is Zorro?"})
    async with client_of_the_application() as client:
        results = await client.ask_many(requests)
        alone = [await client.ask(STORY[:length], "Where is Ada?") for length in (4, 1, 2, 3)]
    assert isinstance(results[2], ItemError)
    assert results[2].code == "unknown_words"
    together = [result for result in results if not isinstance(result, ItemError)]
    assert [answer.answer for answer in together] == [answer.answer for answer in alone]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.attention.weights, other.attention.weights, atol=1e-5)


async def test_refusals_are_exceptions_of_their_own():
    async with client_of_the_application() as client:
        with pytest.raises(UnknownWords) as unknown:
            await client.ask(["Ada walked to the ttic."], "Where is Ada?")
        with pytest.raises(InputTooLong):
            await client.ask(STORY * 100, QUESTION)
        with pytest.raises(ModelNotFound):
            await client.ask(STORY, QUESTION, model="nobody")
    assert "attic" in str(unknown.value.words)


async def test_models_and_words_are_listed():
    async with client_of_the_application() as client:
        assert await client.is_ready()
        (model,) = await client.models()
        assert (model.name, model.state, model.device) == ("dmn-plus-tiny", "ready", "cpu")
        assert "lamp" in await client.vocabulary(model.name)


def test_the_blocking_client_draws_a_picture(server):
    with Client(server) as client:
        assert client.picture(STORY, QUESTION).startswith(b"<svg")


def test_the_command_prints_an_answer_for_pipes(server, tmp_path):
    story = tmp_path / "story.txt"
    story.write_text("\n".join(STORY))
    result = CliRunner().invoke(command, ["ask", str(story), QUESTION, "--json", "--url", server])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["answer"] == "cellar"


def test_the_command_says_in_one_line_that_nobody_listens(tmp_path):
    story = tmp_path / "story.txt"
    story.write_text("\n".join(STORY))
    result = CliRunner().invoke(command, ["ask", str(story), QUESTION, "--url", "http://127.0.0.1:9"])
    assert result.exit_code == 3
    assert len(result.stderr.strip().splitlines()) == 1


async def test_a_text_is_translated_sentence_by_sentence_and_by_two_models_at_once(tmp_path, monkeypatch):
    text = "A dog runs.\n\n* Two women!"
    app = create_app(Settings(grpc_port=0), copying_repository(tmp_path, monkeypatch))
    transport = httpx2.ASGITransport(app=app)
    async with app.router.lifespan_context(app), AsyncClient("http://engram", transport=transport) as client:
        *tokens, found = [event async for event in client.translate_stream(text, target="fr", beam_size=2)]
        assert "".join(map(str, tokens)) == found.text == text
        assert [text[one.start : one.end] for one in found.sentences] == ["A dog runs.", "Two women!"]
        np.testing.assert_allclose(found.attention.weights.sum(axis=1), 1)
        good, bad = await client.translate(["A dog.", "..."])
        assert (good.text, bad.code) == ("A dog.", "invalid_request")
        both = await client.compare("translate", {"text": text})
        kinds = [both[name].attention.kind for name in ("copy-attention", "copy-memory")]
        assert kinds == ["alignment", "memory_activity"]
        assert b"copy-memory:1" in await client.compare_picture("translate", {"text": text})
