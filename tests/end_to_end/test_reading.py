"""The committed reader, asked over HTTP in process."""

from pathlib import Path

import httpx2
import pytest

from server.app import create_app
from server.runtime.options import RuntimeOptions
from server.runtime.repository import Repository
from server.settings import Settings

ROOT = Path(__file__).parents[2]
NAME = "reader-wikitext"
DOCUMENT = (ROOT / "docs" / "examples" / "article.txt").read_text()
REQUEST = {"document": DOCUMENT, "question": "The engineer Edith @placeholder died in 1911."}


@pytest.fixture
async def http(tmp_path):
    (tmp_path / NAME).symlink_to(ROOT / "model_repository" / NAME)
    app = create_app(Settings(), Repository(tmp_path, RuntimeOptions(warm_up=False)))
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client


async def test_a_document_is_read_with_the_places_of_the_answer(http):
    response = await http.post("/v1/read", json=REQUEST)
    assert response.status_code == 200, response.text
    found = response.json()
    assert found["answer"] == "Calloway"
    best = found["candidates"][0]
    assert [DOCUMENT[one["start"] : one["end"]] for one in best["positions"]] == ["Calloway", "Calloway"]
    attention = found["attention"]
    assert sum(attention["weights"][0]) == pytest.approx(1, abs=1e-4)
    assert [attention["axes"][1]["labels"][one["token"]] for one in best["positions"]] == ["Calloway"] * 2


async def test_candidates_share_everything_and_a_word_nobody_knows_can_be_one(http):
    document = DOCUMENT.replace("Calloway", "Zorblaxian")
    request = {**REQUEST, "document": document, "candidates": ["Joseph Prynne", "Zorblaxian", "Bristol"]}
    found = (await http.post("/v1/read", json=request)).json()
    assert found["answer"] == "Zorblaxian"
    assert sum(one["score"] for one in found["candidates"]) == pytest.approx(1, abs=1e-5)


async def test_a_batch_answers_as_single_requests_do(http):
    items = [REQUEST, {"document": "", "question": "?"}, {**REQUEST, "question": "Who lit fires?"}]
    results = (await http.post("/v1/read/batch", json={"requests": items})).json()["results"]
    assert results[1]["error"]["code"] == "invalid_request"
    for item, together in zip(items[::2], results[::2], strict=True):
        alone = (await http.post("/v1/read", json=item)).json()
        assert together["answer"] == alone["answer"]
        assert together["score"] == pytest.approx(alone["score"], abs=1e-5)


async def test_the_picture_is_the_document_with_its_candidates(http):
    response = await http.post("/v1/read", json=REQUEST, headers={"Accept": "image/svg+xml"})
    assert response.headers["content-type"] == "image/svg+xml"
    assert ">lighthouse<" in response.text
    assert response.text.count("Calloway") > 2
