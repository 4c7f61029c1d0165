"""One request for several models: their answers side by side, each for itself."""

import asyncio
from types import SimpleNamespace
from xml.etree import ElementTree

import httpx2
import pytest

from server.app import create_app
from server.errors import ModelNotFound, RunError
from server.runtime.lines import Priority
from tests.server.api.conftest import QUESTION, TinyModel, TinyRepository

ASKED = {"task": "qa", "models": ["tiny", "other"], "request": QUESTION}


class TwoModels(TinyRepository):
    """Two ready models of the same task, ``other`` being the second."""

    def __init__(self, model, other):
        super().__init__(model)
        self.other = other

    def models(self):
        return [self.other, self.model]

    def get(self, model):
        return self.other if model == "other" else super().get(model)


@pytest.fixture
def other(bundle):
    model = TinyModel(bundle)
    model.name = "other"
    manifest = bundle.manifest.model_copy(update={"name": "other", "default": False})
    model.bundle = SimpleNamespace(manifest=manifest, vocabulary=bundle.vocabulary)
    return model


@pytest.fixture
def repository(model, other):
    return TwoModels(model, other)


async def test_every_model_answers_as_its_own_endpoint_does(client):
    response = await client.post("/v1/compare", json=ASKED)
    alone = (await client.post("/v1/qa", json=QUESTION)).json()
    compared = response.json()
    assert response.status_code == 200
    assert (compared["task"], compared["models"]) == ("qa", ["tiny", "other"])
    assert [result["model"]["name"] for result in compared["results"]] == ["tiny", "other"]
    for result in compared["results"]:
        assert result.keys() == alone.keys()
        assert result["attention"] == alone["attention"]


async def test_a_model_that_fails_spoils_only_its_own_place(client, other):
    other.failure = RunError("broken inside")
    response = await client.post("/v1/compare", json={**ASKED, "models": ["missing", "other", "tiny"]})
    missing, failed, answered = response.json()["results"]
    assert response.status_code == 200
    assert missing["error"]["code"] == "model_not_found"
    assert failed["error"]["code"] == "internal"
    assert "broken" not in failed["error"]["message"]
    assert answered["answer"]


async def test_models_are_asked_at_the_same_time_with_the_same_deadline_and_priority(client, model, other):
    model.gate.clear()
    asking = asyncio.create_task(
        client.post("/v1/compare", json=ASKED, headers={"X-Priority": "batch", "X-Timeout-Ms": "20000"})
    )
    await asyncio.wait_for(other.arrivals.acquire(), 5)
    model.gate.set()
    assert (await asking).status_code == 200
    assert model.priority is other.priority is Priority.BATCH
    assert 19 < other.time_left <= 20


async def test_without_names_all_models_that_do_what_is_asked_answer_the_default_first(client):
    response = await client.post("/v1/compare", json={"task": "qa", "request": QUESTION})
    assert response.json()["models"] == ["tiny", "other"]


async def test_of_several_versions_the_one_that_the_name_stands_for_counts(
    client, model, other, repository, monkeypatch
):
    old = TinyModel(model.bundle)
    old.version = 0
    old.bundle = SimpleNamespace(manifest=model.bundle.manifest.model_copy(update={"task": "read"}))
    monkeypatch.setattr(repository, "models", lambda: [other, model, old])
    response = await client.post("/v1/compare", json={"task": "qa", "request": QUESTION})
    assert response.json()["models"] == ["tiny", "other"]
    monkeypatch.setattr(repository, "models", lambda: [old])
    response = await client.post("/v1/compare", json={"task": "qa", "request": QUESTION})
    assert response.json()["models"] == ["tiny"]


async def test_without_any_such_model_the_request_fails(client, model, other, repository, monkeypatch):
    model.state = other.state = "failed"
    response = await client.post("/v1/compare", json={"task": "qa", "request": QUESTION})
    assert response.status_code == 503

    def find(*_):
        raise ModelNotFound("none", models=[])

    monkeypatch.setattr(repository, "find", find)
    assert (await client.post("/v1/compare", json={"task": "qa", "request": QUESTION})).status_code == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"task": "sing"}, "task"),
        ({"models": []}, "models"),
        ({"models": ["a"] * 2}, "models"),
        ({"models": [f"m{number}" for number in range(9)]}, "models"),
        ({"request": {**QUESTION, "model": "tiny"}}, "request.model"),
        ({"request": {"story": ["A."]}}, "request.question"),
        ({"request": {**QUESTION, "top_k": "many"}}, "request.top_k"),
        ({"more": 1}, "more"),
    ],
    ids=["task", "none", "twice", "many", "model inside", "missing", "type", "unknown"],
)
async def test_what_is_wrong_with_the_request_is_told_once(client, change, field):
    response = await client.post("/v1/compare", json={**ASKED, **change})
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (422, "invalid_request")
    assert error["details"]["fields"] == [field]
    assert field in error["message"]


async def test_the_picture_has_all_of_them_below_each_other(client, other):
    alone = await client.post("/v1/qa", json=QUESTION, headers={"Accept": "image/svg+xml"})
    both = await client.post("/v1/compare", json=ASKED, headers={"Accept": "image/svg+xml"})
    heights = [int(ElementTree.fromstring(response.text).get("height")) for response in (alone, both)]
    assert both.headers["content-type"] == "image/svg+xml"
    assert heights[1] == 2 * heights[0]
    assert "tiny:1" in both.text
    assert "other:1" in both.text
    other.failure = RunError("broken inside")
    one = await client.post("/v1/compare", json=ASKED, headers={"Accept": "image/png"})
    assert one.content.startswith(b"\x89PNG")


async def test_without_any_answer_there_is_no_picture(client, model, other):
    model.failure = other.failure = RunError("broken inside")
    response = await client.post("/v1/compare", json=ASKED, headers={"Accept": "image/svg+xml"})
    assert response.status_code == 500


async def test_a_client_that_leaves_ends_every_answer(settings, repository, model, other):
    app = create_app(settings, repository)
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://engram") as client:
        model.gate.clear()
        other.gate.clear()
        asking = asyncio.create_task(client.post("/v1/compare", json=ASKED))
        await asyncio.wait_for(model.arrivals.acquire(), 5)
        await asyncio.wait_for(other.arrivals.acquire(), 5)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    assert (model.cancelled, other.cancelled) == (1, 1)
