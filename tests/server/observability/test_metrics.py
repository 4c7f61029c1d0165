"""``/metrics``: Triton's names, our distributions, and counts that equal what clients saw."""

import asyncio
import math
import re
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from server.api.exposition import CONTENT_TYPE, render
from server.api.snapshot import Snapshot
from server.runtime.options import RuntimeOptions
from server.runtime.statistics import ENDINGS, REASONS
from tests.server.fakes import until
from tests.server.observability.conftest import QUESTION, TINY, of, parse, samples

PAGE = Path(__file__).parents[3] / "docs" / "observability.md"


async def test_triton_names_are_there_before_any_request(client):
    response = await client.get("/metrics")
    assert response.headers["content-type"] == CONTENT_TYPE
    found = parse(response.text)
    for name in ("request_success", "count", "exec_count", "pending_request_count"):
        assert of(found, f"nv_inference_{name}", **TINY) == 0
    for part in ("request", "queue", "compute_input", "compute_infer", "compute_output"):
        assert of(found, f"nv_inference_{part}_duration_us", **TINY) == 0
    for reason in REASONS:
        assert of(found, "nv_inference_request_failure", **TINY, reason=reason) == 0
    for ending in ENDINGS:
        assert of(found, "engram_requests_total", **TINY, ending=ending) == 0


async def test_every_metric_is_described(client):
    """And nothing else is: the page lists the families that are told, those of the process together."""
    await client.post("/v1/qa", json=QUESTION)
    told = set(re.findall(r"^# TYPE (\w+) ", (await client.get("/metrics")).text, flags=re.M))
    rows = [line.split("|")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    described = {name for row in rows for name in re.findall(r"`((?:nv|engram)_\w+)`", row)}
    assert {name for name in told if not name.startswith("process_")} == described


async def test_tritons_counters_are_declared_as_counters(client):
    text = (await client.get("/metrics")).text
    assert "# TYPE nv_inference_request_success counter\n" in text
    assert "# TYPE nv_inference_request_failure counter\n" in text
    assert "# TYPE nv_inference_pending_request_count gauge\n" in text
    assert "untyped" not in text


async def test_an_answer_is_counted_with_its_times(client):
    assert (await client.post("/v1/qa", json=QUESTION)).status_code == 200
    found = await samples(client)
    for name in ("request_success", "count", "exec_count"):
        assert of(found, f"nv_inference_{name}", **TINY) == 1
    assert of(found, "nv_inference_request_duration_us", **TINY) > 0
    for name in ("request_duration_seconds", "batch_size", "batch_fill_ratio"):
        assert of(found, f"engram_{name}_count", **TINY) == 1
    assert of(found, "engram_queue_seconds_count", **TINY, priority="interactive") == 1
    assert of(found, "engram_queue_seconds_count", **TINY, priority="batch") == 0
    assert of(found, "engram_batch_size_sum", **TINY) == 1
    assert of(found, "engram_padding_waste_ratio_bucket", **TINY, le="0.0") == 1
    assert of(found, "engram_http_requests_total", route="/v1/qa", status="200") == 1


async def test_histograms_are_cumulative(client):
    for _ in range(3):
        await client.post("/v1/qa", json=QUESTION)
    found = await samples(client)
    buckets = sorted(
        (float(dict(labels)["le"]), count)
        for (name, labels), count in found.items()
        if name == "engram_request_duration_seconds_bucket"
    )
    assert buckets[-1] == (math.inf, 3)
    assert [count for _, count in buckets] == sorted(count for _, count in buckets)


async def test_models_tell_where_they_run(client):
    found = await samples(client)
    assert of(found, "engram_model_ready", **TINY) == 1
    assert of(found, "engram_executors", **TINY) == 1
    assert of(found, "engram_device_info", **TINY, runtime="onnx", device="cpu") == 1
    assert of(found, "process_resident_memory_bytes") > 0


class TestJoinedRequests:
    @pytest.fixture
    def options(self):
        return RuntimeOptions(max_batch_cost=96)

    async def test_fill_and_waste_follow_from_the_padding(self, client, session):
        session.gate.clear()
        first = asyncio.create_task(client.post("/v1/qa", json=QUESTION))
        await session.has_started()
        longer = {**QUESTION, "story": ["Anna took the milk."] * 4}
        others = [asyncio.create_task(client.post("/v1/qa", json=each)) for each in (QUESTION, longer)]
        model = client.app.repository.get("tiny")
        await until(lambda: model.waiting[0] == 2)
        waiting = await samples(client)
        assert of(waiting, "nv_inference_pending_request_count", **TINY) == 2
        assert of(waiting, "engram_queue_cells", **TINY, priority="interactive") == 128
        assert of(waiting, "engram_queue_cells", **TINY, priority="batch") == 0
        session.gate.set()
        await asyncio.gather(first, *others)
        found = await samples(client)
        # Two facts of five words alone; then those beside four of four, both padded to four of five.
        assert of(found, "nv_inference_exec_count", **TINY) == 2
        assert of(found, "engram_batch_size_sum", **TINY) == 3
        assert of(found, "engram_batch_cells_total", **TINY, kind="request") == 10 + 10 + 16
        assert of(found, "engram_batch_cells_total", **TINY, kind="padding") == 2 * 4 * 5 - 26
        assert of(found, "engram_batch_fill_ratio_sum", **TINY) == pytest.approx((10 + 40) / 96)
        assert of(found, "engram_padding_waste_ratio_sum", **TINY) == pytest.approx(40 / 26 - 1)


async def test_client_counts_equal_the_metrics(client, session):
    """Every way a request can end, each counted by what the client saw of it."""
    seen = Counter()

    async def ask(**changes):
        try:
            response = await client.post("/v1/qa", json=QUESTION | changes)
        except asyncio.CancelledError:
            seen[499] += 1
        else:
            seen[response.status_code] += 1

    for _ in range(7):
        await ask()
    await ask(question="Where is the mlik?")
    await ask(model="nobody")
    await ask(colour="red")
    session.poison = 5
    await ask(story=["Anna dropped the milk."])
    session.poison = None
    session.gate.clear()
    running = asyncio.create_task(ask())
    await session.has_started()
    for timeout_ms in (20, 30):  # one after the other: who would wait behind another is refused at once
        await ask(timeout_ms=timeout_ms)
    leaving = asyncio.create_task(ask())
    await until(lambda: client.app.repository.get("tiny").waiting[0] == 1)
    leaving.cancel()
    await leaving
    session.gate.set()
    await running
    found = await samples(client)
    endings = {ending: of(found, "engram_requests_total", **TINY, ending=ending) for ending in ENDINGS}
    assert endings == {
        "ok": seen[200],
        "invalid": 1,
        "failed": seen[500],
        "expired": seen[504],
        "cancelled": 1,
        **dict.fromkeys(("overloaded", "refused", "error"), 0),
    }
    assert of(found, "nv_inference_request_success", **TINY) == seen[200] == 8
    reasons = {"REJECTED": seen[504], "BACKEND": seen[500], "OTHER": 1, "CANCELED": 1}
    for reason, count in reasons.items():
        assert of(found, "nv_inference_request_failure", **TINY, reason=reason) == count
    for status in (200, 404, 422, 500, 504):
        assert of(found, "engram_http_requests_total", route="/v1/qa", status=str(status)) == seen[status]


class TestFullQueue:
    @pytest.fixture
    def options(self):
        return RuntimeOptions(max_queue_cost=70)

    async def test_rejections_are_counted(self, client, session):
        session.gate.clear()
        asked = [asyncio.create_task(client.post("/v1/qa", json=QUESTION))]
        await session.has_started()
        asked += [asyncio.create_task(client.post("/v1/qa", json=QUESTION)) for _ in range(4)]
        await until(lambda: sum(task.done() for task in asked) == 3)
        session.gate.set()
        statuses = Counter([response.status_code for response in await asyncio.gather(*asked)])
        assert statuses == {200: 2, 429: 3}
        found = await samples(client)
        assert of(found, "engram_requests_total", **TINY, ending="overloaded") == 3
        assert of(found, "nv_inference_request_failure", **TINY, reason="REJECTED") == 3


async def test_items_of_a_batch_are_counted_singly(client):
    body = {"requests": [QUESTION, {**QUESTION, "question": ""}, QUESTION]}
    assert (await client.post("/v1/qa/batch", json=body)).status_code == 200
    found = await samples(client)
    assert of(found, "nv_inference_request_success", **TINY) == 2
    assert of(found, "engram_requests_total", **TINY, ending="invalid") == 1
    assert of(found, "engram_http_requests_total", route="/v1/qa/batch", status="200") == 1


async def test_unknown_paths_share_one_route(client):
    for path in ("/a", "/b", "/c"):
        await client.get(path)
    assert of(await samples(client), "engram_http_requests_total", route="none", status="404") == 3


async def test_routes_are_templates(client):
    await client.get("/v1/models/tiny")
    await client.get("/v1/models/nobody")
    await client.get("/v2/models/tiny")
    found = await samples(client)
    assert of(found, "engram_http_requests_total", route="/v1/models/{name}", status="404") == 1
    assert of(found, "engram_http_requests_total", route="/v2/models/{name}", status="200") == 1


async def test_applications_count_on_their_own(open_app):
    async with open_app() as one, open_app() as two:
        await one.post("/v1/qa", json=QUESTION)
        assert of(await samples(two), "nv_inference_request_success", **TINY) == 0


async def test_snapshots_travel_and_add_up(client, open_app):
    """What several processes count is one sum, after a trip through bytes."""
    async with open_app() as worker:
        for each, times in ((client, 2), (worker, 3)):
            for _ in range(times):
                assert (await each.post("/v1/qa", json=QUESTION)).status_code == 200
        await worker.get("/nowhere")

        async def elsewhere():
            sent = msgspec.msgpack.encode(worker.app.metrics.snapshot())
            return [msgspec.msgpack.decode(sent, type=Snapshot)]

        client.app.metrics.elsewhere = elsewhere
        found = await samples(client)
    assert of(found, "nv_inference_request_success", **TINY) == 5
    assert of(found, "engram_requests_total", **TINY, ending="ok") == 5
    assert of(found, "engram_requests_total", **TINY, ending="failed") == 0
    assert of(found, "engram_request_duration_seconds_count", **TINY) == 5
    assert of(found, "engram_executors", **TINY) == 2
    assert of(found, "engram_model_ready", **TINY) == 1
    assert of(found, "engram_http_requests_total", route="/v1/qa", status="200") == 5
    assert of(found, "engram_http_requests_total", route="none", status="404") == 1
    assert of(found, "process_start_time_seconds") < 1e11


def test_adding_nothing_changes_nothing():
    assert render(Snapshot().plus(Snapshot())) == render(Snapshot())


async def test_a_model_that_failed_is_listed_as_not_ready(open_app, repository_folder):
    (repository_folder / "tiny/1/model.onnx").write_bytes(b"altered")
    async with open_app() as client:
        found = await samples(client)
    assert of(found, "engram_model_ready", **TINY) == 0
    assert of(found, "engram_executors", **TINY) == 0


async def test_endings_of_raw_tensors_count_too(client):
    inputs = [
        {"name": "story_tokens", "datatype": "INT64", "shape": [2, 1, 1], "data": [2, 3]},
        {"name": "question_tokens", "datatype": "INT64", "shape": [2, 1], "data": [4, 5]},
    ]
    response = await client.post("/v2/models/tiny/infer", json={"inputs": inputs})
    assert response.status_code == 200
    found = await samples(client)
    assert of(found, "nv_inference_request_success", **TINY) == 1
    assert of(found, "nv_inference_count", **TINY) == 2
