"""What a good request gets, for every form of answer."""

import asyncio
import gzip
import re
import time
from xml.etree import ElementTree

import orjson
import pytest

from server.errors import Overloaded
from server.runtime.lines import Priority
from tests.server.api.conftest import QUESTION, STORY

ANSWER = "office"
"""What the arithmetic of the tiny model makes of the question."""


async def test_answer_carries_attention_model_timing_and_batch_size(client):
    answer = (await client.post("/v1/qa", json=QUESTION)).json()
    assert answer["answer"] == ANSWER
    assert answer["alternatives"][0] == {"answer": ANSWER, "score": answer["score"]}
    assert answer["model"] == {"name": "tiny", "version": 1}
    assert answer["batch_size"] == 1
    assert set(answer["timing_ms"]) == {"queue", "compute", "total"}
    assert answer["attention"]["axes"][1] == {"name": "fact", "labels": STORY}
    assert [sum(row) for row in answer["attention"]["weights"]] == pytest.approx([1.0, 1.0, 1.0])
    assert answer["evidence"][0]["text"] == STORY[answer["evidence"][0]["index"]]


async def test_weights_are_as_short_as_their_float32(client):
    response = await client.post("/v1/qa", json=QUESTION)
    weights = re.findall(rb"0\.(\d+)", response.content.partition(b'"weights":')[2].partition(b"]]")[0])
    assert len(weights) == 9
    assert max(map(len, weights)) <= 10


async def test_top_attention_lists_index_and_weight(client):
    answer = (await client.post("/v1/qa", json={**QUESTION, "attention": "top", "attention_top_k": 1})).json()
    rows = answer["attention"]["weights"]
    assert [len(row) for row in rows] == [1, 1, 1]
    assert rows[2][0][0] == answer["evidence"][0]["index"]


async def test_no_attention_is_sent_when_none_is_asked_for(client):
    answer = (await client.post("/v1/qa", json={**QUESTION, "attention": "none"})).json()
    assert answer["attention"] is None


async def test_named_version_answers(client):
    assert (await client.post("/v1/qa", json={**QUESTION, "model": "tiny:1"})).status_code == 200


async def test_gzip_body_is_read(client):
    body = gzip.compress(orjson.dumps(QUESTION))
    response = await client.post("/v1/qa", content=body, headers={"Content-Encoding": "gzip"})
    assert response.json()["answer"] == ANSWER


async def test_large_answer_is_compressed_for_those_who_take_it(client):
    plain = await client.post("/v1/qa", json=QUESTION)
    small = await client.post("/v1/qa", json=QUESTION, headers={"Accept-Encoding": "br, gzip;q=0.5"})
    assert "content-encoding" not in plain.headers
    assert small.headers["content-encoding"] == "gzip"
    assert "Accept-Encoding" in small.headers["vary"]
    assert int(small.headers["content-length"]) < len(plain.content)
    assert small.json()["attention"] == plain.json()["attention"]


async def test_small_answer_is_not_compressed(client):
    response = await client.get("/health/live", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in response.headers


async def test_request_id_is_echoed_cleaned_and_bounded(client):
    response = await client.post("/v1/qa", json=QUESTION, headers={"X-Request-Id": "abc-1"})
    assert response.headers["x-request-id"] == "abc-1"
    response = await client.get("/nowhere", headers={"X-Request-Id": 'a<b>"c;' + "d" * 500})
    assert response.headers["x-request-id"] == "abc" + "d" * 121
    assert response.json()["error"]["request_id"] == response.headers["x-request-id"]


async def test_request_id_is_made_when_none_came(client):
    first, second = [await client.get("/health/live") for _ in range(2)]
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


async def test_smallest_timeout_wins(client, model, settings):
    async def due(field=None, header=None):
        headers = {} if header is None else {"X-Timeout-Ms": header}
        await client.post("/v1/qa", json={**QUESTION, "timeout_ms": field}, headers=headers)
        return model.time_left * 1000

    assert await due() == pytest.approx(settings.timeout_ms, abs=500)
    assert await due(field=5_000) == pytest.approx(5_000, abs=500)
    assert await due(field=5_000, header="4000") == pytest.approx(4_000, abs=500)
    assert await due(field=3_000, header="4000") == pytest.approx(3_000, abs=500)
    assert await due(field=10**9, header="1e12") == pytest.approx(settings.timeout_ms, abs=500)


async def test_svg_is_the_heat_map(client):
    story = ['Anna took <the> "milk" & box\x01.', *STORY]
    body = {**QUESTION, "story": story, "attention": "none", "unknown_words": "map"}
    response = await client.post("/v1/qa", json=body, headers={"Accept": "image/svg+xml"})
    assert response.headers["content-type"] == "image/svg+xml"
    text = "".join(ElementTree.fromstring(response.content).itertext())
    assert f"Where is the milk? {ANSWER} (33%)" in text
    assert 'Anna took <the> "milk" & box' in text
    assert "\x01" not in text


async def test_picture_of_a_large_attention_shows_its_largest_weights(client):
    story = [f"Anna went to the {place}." for place in ("milk", "garden") * 3]
    response = await client.post(
        "/v1/qa", json={**QUESTION, "story": story}, headers={"Accept": "image/svg+xml"}
    )
    assert response.text.count(">0.1") >= 5


async def test_png_is_a_png(client):
    pytest.importorskip("PIL")
    response = await client.post(
        "/v1/qa", json=QUESTION, headers={"Accept": "image/png, application/json;q=0.5"}
    )
    assert response.headers["content-type"] == "image/png"
    assert response.content.startswith(b"\x89PNG")


async def test_batch_answers_in_order_and_a_bad_item_spoils_only_itself(client):
    items = [QUESTION, {"story": [], "question": "Where is Anna?"}, 7, {**QUESTION, "story": STORY[:2]}]
    response = await client.post("/v1/qa/batch", json={"requests": items})
    first, empty, number, last = response.json()["results"]
    assert response.status_code == 200
    assert [len(answer["attention"]["axes"][1]["labels"]) for answer in (first, last)] == [3, 2]
    assert [empty["error"]["code"], number["error"]["code"]] == ["invalid_request", "invalid_request"]
    assert empty["error"]["request_id"] == response.headers["x-request-id"]


async def test_batch_items_share_the_deadline_of_their_request(client, model):
    model.gate.clear()
    began = time.monotonic()
    response = await client.post(
        "/v1/qa/batch", json={"requests": [QUESTION] * 3}, headers={"X-Timeout-Ms": "50"}
    )
    assert {result["error"]["code"] for result in response.json()["results"]} == {"deadline_exceeded"}
    assert time.monotonic() - began < 1


async def test_batch_item_that_meets_a_full_queue_says_when_to_come_back(client, model):
    model.failure = Overloaded("the queue is full", retry_after_s=2.5)
    response = await client.post("/v1/qa/batch", json={"requests": [QUESTION]})
    assert response.json()["results"][0]["error"]["details"] == {"retry_after_s": 2.5}


async def test_batch_keeps_only_so_many_items_in_the_queue(client, model, settings):
    model.gate.clear()
    pending = asyncio.create_task(client.post("/v1/qa/batch", json={"requests": [QUESTION] * 5}))
    for _ in range(settings.batch_concurrency):
        await model.arrivals.acquire()
    await asyncio.sleep(0.01)
    assert model.arrivals.locked()
    model.gate.set()
    assert len((await pending).json()["results"]) == 5


async def test_client_that_leaves_cancels_its_request(app, model):
    model.gate.clear()
    messages = [{"type": "http.request", "body": orjson.dumps(QUESTION), "more_body": False}]
    sent = []

    async def receive():
        if messages:
            return messages.pop()
        await model.arrivals.acquire()
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    await app(
        {
            "type": "http",
            "method": "POST",
            "path": "/v1/qa",
            "headers": [],
            "query_string": b"",
            "root_path": "",
        },
        receive,
        send,
    )
    assert model.cancelled == 1
    assert sent == []


@pytest.mark.parametrize(
    ("path", "headers", "priority"),
    [
        ("/v1/qa", {}, Priority.INTERACTIVE),
        ("/v1/qa", {"X-Priority": "batch"}, Priority.BATCH),
        ("/v1/qa/batch", {}, Priority.BATCH),
        ("/v1/qa/batch", {"X-Priority": "interactive"}, Priority.INTERACTIVE),
    ],
    ids=["question", "patient-question", "batch", "urgent-batch"],
)
async def test_batches_are_less_urgent_than_questions_unless_the_header_says_otherwise(
    client, model, path, headers, priority
):
    body = {"requests": [QUESTION]} if path.endswith("batch") else QUESTION
    assert (await client.post(path, json=body, headers=headers)).status_code == 200
    assert model.priority is priority


async def test_an_unknown_priority_is_refused(client):
    response = await client.post("/v1/qa", json=QUESTION, headers={"X-Priority": "vip"})
    assert response.status_code == 422
    assert response.json()["error"]["details"]["fields"] == ["X-Priority"]
