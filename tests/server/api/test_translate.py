"""``/v1/translate`` over a translator that copies: endpoints, streams, pictures, batches and comparison."""

import json
from xml.etree import ElementTree

import httpx2
import pytest

from server.app import create_app
from server.settings import Settings
from tests.server.copying import copying_repository, write_copying_bundle

TEXT = "A dog runs.\n\n* Two women!"
STREAM = {"Accept": "text/event-stream"}
SVG = {"Accept": "image/svg+xml"}


@pytest.fixture
async def client(tmp_path, monkeypatch):
    repository = copying_repository(tmp_path, monkeypatch, max_attention_weights=10_000)
    app = create_app(Settings(grpc_port=0, metrics_port=0, max_batch_items=5), repository)
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://engram") as client:
            yield client


def events_of(text):
    frames = [frame.split("\n") for frame in text.split("\n\n")[:-1]]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in frames]


@pytest.mark.parametrize(
    "languages", [{"source": "en", "target": "fr"}, {"target": "fr"}, {}], ids=["both", "target", "neither"]
)
async def test_languages_choose_the_default_model(client, languages):
    answer = (await client.post("/v1/translate", json={"text": TEXT, **languages})).json()
    assert answer["translations"][0]["text"] == TEXT
    assert answer["model"] == {"name": "copy-attention", "version": 1}
    assert answer["batch_size"] == 2


async def test_a_language_that_no_model_speaks_names_those_there_are(client):
    response = await client.post("/v1/translate", json={"text": TEXT, "source": "en", "target": "tlh"})
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (404, "model_not_found")
    assert "with source en, target tlh; there are defaults with source en, target fr" in error["message"]
    named = {"text": TEXT, "target": "tlh", "model": "copy-memory"}
    assert (await client.post("/v1/translate", json=named)).status_code == 422


@pytest.mark.parametrize("beam_size", [1, 3])
async def test_tokens_come_in_the_order_of_the_text_and_make_it_up(client, beam_size):
    body = {"texts": [TEXT, "A map. A dog. A map."], "beam_size": beam_size}
    response = await client.post("/v1/translate", json=body, headers=STREAM)
    *tokens, (last, answer) = events_of(response.text)
    assert {name for name, _ in tokens} == {"token"}
    assert last == "done"
    places = [(data["index"], data["sentence"]) for _, data in tokens]
    assert places == sorted(places)
    for index, text in enumerate(body["texts"]):
        said = "".join(data["text"] for _, data in tokens if data["index"] == index)
        assert said == answer["translations"][index]["text"] == text
    first = tokens[0][1]
    assert first["attention"]["axes"][0]["name"] == "source_token"
    assert sum(first["attention"]["weights"]) == 1.0


async def test_the_picture_shows_every_token_of_the_translation(client):
    response = await client.post("/v1/translate", json={"text": "A dog runs."}, headers=SVG)
    picture = "".join(ElementTree.fromstring(response.text).itertext())
    assert response.status_code == 200
    assert "A dog runs." in picture
    assert "copy-attention:1, alignment" in picture


async def test_the_picture_of_active_memory_says_that_it_is_no_attention(client):
    body = {"text": "A dog runs.", "model": "copy-memory"}
    picture = (await client.post("/v1/translate", json=body, headers=SVG)).text
    assert "memory activity" in picture
    assert "no attention" in picture
    assert "sum to 1" not in picture


async def test_both_are_compared_side_by_side_and_in_one_picture(client):
    body = {"task": "translate", "request": {"text": TEXT, "target": "fr"}}
    compared = (await client.post("/v1/compare", json=body)).json()
    assert compared["models"] == ["copy-attention", "copy-memory"]
    kinds = [one["translations"][0]["attention"]["kind"] for one in compared["results"]]
    assert kinds == ["alignment", "memory_activity"]
    picture = (await client.post("/v1/compare", json=body, headers=SVG)).text
    assert "copy-attention:1" in picture
    assert "copy-memory:1" in picture


async def test_a_batch_counts_texts_singly(client):
    requests = [{"texts": ["A dog.", "..."]}, {"text": "A map."}, {"text": 3}]
    response = await client.post("/v1/translate/batch", json={"requests": requests})
    first, second, third = response.json()["results"]
    assert [next(iter(one)) for one in first["translations"]] == ["text", "error"]
    assert second["translations"][0]["text"] == "A map."
    assert third["error"]["code"] == "invalid_request"
    many = {"requests": [{"texts": ["A dog."] * 3}] * 2}
    response = await client.post("/v1/translate/batch", json=many)
    assert response.status_code == 422
    assert "has 6 items, expected 1 to 5" in response.json()["error"]["message"]


async def test_another_pair_of_languages_makes_the_choice_necessary(tmp_path, monkeypatch):
    repository = copying_repository(tmp_path, monkeypatch)
    write_copying_bundle(tmp_path / "copy-german", target="de")
    app = create_app(Settings(grpc_port=0, metrics_port=0), repository)
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://engram") as client:
            german = await client.post("/v1/translate", json={"text": "A dog.", "target": "de"})
            assert german.json()["model"]["name"] == "copy-german"
            response = await client.post("/v1/translate", json={"text": "A dog."})
            message = response.json()["error"]["message"]
            assert "task translate has several models" in message
            assert "with source en, target de and with source en, target fr" in message
            compare = {"task": "translate", "request": {"text": "A dog."}}
            assert (await client.post("/v1/compare", json=compare)).status_code == 404
