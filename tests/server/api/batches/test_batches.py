"""``/v1/batches`` over a tiny model: what is taken, refused, shown, streamed and kept apart."""

import asyncio
import gzip
import json
import subprocess
import sys

import pytest

from server.api.batches.lines import TaskLines
from server.app import create_app
from server.batches.records import Line
from server.errors import ModelNotFound
from server.logs import REQUEST_ID
from server.runtime.statistics import Statistics
from server.settings import Settings
from server.tasks import QuestionAnswering
from tests.processes import ROOT
from tests.server.api.conftest import QUESTION

KEYS = {"api_keys": "ada:first,ben:second"}
ADA, BEN = ({"Authorization": f"Bearer {key}"} for key in ("first", "second"))


def lines(count, **fields):
    return b"".join(json.dumps({"id": f"q{n}", **QUESTION, **fields}).encode() + b"\n" for n in range(count))


@pytest.fixture
def settings(tmp_path, request):
    changes = getattr(request, "param", {})
    return Settings(batch_file=tmp_path / "batches.sqlite3", **{"batch_free_bytes": 0, **changes})


@pytest.fixture
async def app(settings, repository, model):
    model.statistics = Statistics()
    app = create_app(settings, repository)
    yield app
    await app.batches.stop()


async def submit(client, body, task="qa", **headers):
    return await client.post(f"/v1/batches?task={task}", content=body, headers=headers)


async def ended(client, batch, headers=None):
    async with asyncio.timeout(30):
        while True:
            told = (await client.get(f"/v1/batches/{batch['id']}", headers=headers)).json()
            if told["state"] not in ("queued", "running"):
                return told
            await asyncio.sleep(0.02)


async def results(client, batch, offset=0):
    reply = await client.get(f"/v1/batches/{batch['id']}/results?offset={offset}")
    assert reply.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in reply.text.splitlines()]


async def test_a_batch_is_taken_worked_on_and_read(client):
    reply = await submit(client, lines(3))
    assert reply.status_code == 202
    batch = reply.json()
    assert reply.headers["location"] == f"/v1/batches/{batch['id']}"
    assert (batch["state"], batch["total"], batch["task"]) == ("queued", 3, "qa")
    told = await ended(client, batch)
    assert (told["state"], told["done"], told["failed"]) == ("done", 3, 0)
    found = await results(client, batch)
    assert [(line["id"], line["index"]) for line in found] == [("q0", 0), ("q1", 1), ("q2", 2)]
    alone = (await client.post("/v1/qa", json=QUESTION)).json()
    same = ("answer", "score", "attention", "evidence", "model")
    assert all(line["result"][name] == alone[name] for line in found for name in same)
    assert await results(client, batch, offset=2) == found[2:]
    assert (await client.get("/v1/batches")).json() == {"batches": [told]}


async def test_a_bad_line_spoils_only_itself(client):
    body = [
        lines(1),
        b"\n",  # blank lines do not count
        b'{"id": 7, "story": 5, "question": "Where?"}\n',
        b'{"story": ["Anna took the milk."], "question": "Where is the milk?"}\n',
        b"no json\n",
        b"\xff\xfe\n",
        b'{"id": "deep", "story": ' + b"[" * 100 + b"]" * 100 + b"}\n",
        json.dumps({"id": "words", **QUESTION, "question": "Where is the zebra?"}).encode(),
    ]
    batch = (await submit(client, b"".join(body))).json()
    assert (batch["total"], batch["invalid"], batch["failed"]) == (7, 5, 5)
    told = await ended(client, batch)
    assert (told["done"], told["failed"]) == (1, 6)
    found = await results(client, batch)
    assert [line["index"] for line in found] == list(range(7))
    assert [line["id"] for line in found] == ["q0", 7, None, None, None, "deep", "words"]
    codes = [line["error"]["code"] for line in found[1:]]
    assert codes == ["invalid_request"] * 2 + ["malformed_json"] * 3 + ["unknown_words"]
    assert found[1]["error"]["details"] == {"fields": ["story"]}
    assert "id: is missing" in found[2]["error"]["message"]


@pytest.mark.parametrize(
    ("body", "task", "why"),
    [
        (b"", "qa", "no lines"),
        (b"\n\n", "qa", "no lines"),
        (b"one\ntwo\n", "qa", "none of the 2 lines"),
        (lines(1), "sing", "'sing'"),
        (lines(1), "", "expected one of qa"),
    ],
)
async def test_what_is_no_batch_is_refused(client, body, task, why):
    reply = await submit(client, body, task)
    assert reply.status_code == 422
    assert why in reply.json()["error"]["message"]
    assert (await client.get("/v1/batches")).json() == {"batches": []}


async def test_a_repeat_answers_the_same_batch(client):
    key = {"Idempotency-Key": "only-once"}
    first = (await submit(client, lines(2), **key)).json()
    await ended(client, first)
    again = await submit(client, lines(2), **key)
    assert again.status_code == 202
    assert (again.json()["id"], again.json()["state"]) == (first["id"], "done")
    assert (await submit(client, lines(3), **key)).status_code == 422
    assert (await submit(client, lines(2), **{"Idempotency-Key": "a b"})).status_code == 422
    assert (await submit(client, lines(2))).json()["id"] != first["id"]


async def test_a_body_may_come_in_pieces_and_compressed(client):
    async def pieces():
        body = lines(40)
        for start in range(0, len(body), 33):
            yield body[start : start + 33]

    plain = (await client.post("/v1/batches?task=qa", content=pieces())).json()
    packed = (await submit(client, gzip.compress(lines(40)), **{"Content-Encoding": "gzip"})).json()
    assert plain["total"] == packed["total"] == 40
    broken = gzip.compress(lines(40))[:-9]
    assert (await submit(client, broken, **{"Content-Encoding": "gzip"})).status_code == 400
    assert (await submit(client, lines(1), **{"Content-Encoding": "br"})).status_code == 415
    assert len((await client.get("/v1/batches")).json()["batches"]) == 2


@pytest.mark.parametrize("settings", [{"batch_max_bytes": 1000, "batch_max_line_bytes": 300}], indirect=True)
async def test_sizes_are_bounded(client):
    for body, headers in ((lines(20), {}), (gzip.compress(lines(20)), {"Content-Encoding": "gzip"})):
        reply = await submit(client, body, **headers)
        assert reply.status_code == 413
        assert "ENGRAM_BATCH_MAX_BYTES" in reply.json()["error"]["message"]
    long = json.dumps({"id": "long", **QUESTION, "question": "where " * 60}).encode()
    batch = (await submit(client, lines(1) + long)).json()
    assert batch["invalid"] == 1
    await ended(client, batch)
    assert (await results(client, batch))[1]["error"]["code"] == "payload_too_large"


@pytest.mark.parametrize("settings", [{"batch_free_bytes": 2**60}], indirect=True)
async def test_a_full_disk_refuses_new_batches(client):
    reply = await submit(client, lines(1))
    assert reply.status_code == 507
    assert reply.json()["error"]["code"] == "insufficient_storage"


@pytest.mark.parametrize("settings", [{"batches": False}], indirect=True)
async def test_batches_may_be_off(settings, repository, tmp_path):
    import httpx2

    app = create_app(settings, repository)
    assert app.batches is None
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://engram") as client:
        assert (await submit(client, lines(1))).status_code == 501
        assert (await client.get("/v1/batches")).status_code == 501
    assert list(tmp_path.glob("batches*")) == []


async def test_a_file_is_made_when_the_first_batch_comes(client, settings):
    assert (await client.get("/v1/batches")).json() == {"batches": []}
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/results")):
        assert (await client.request(method, f"/v1/batches/none{path}")).status_code == 404
    assert not settings.batch_file.exists()
    await submit(client, lines(1))
    assert settings.batch_file.exists()


@pytest.mark.parametrize("settings", [KEYS], indirect=True)
async def test_a_key_sees_its_own_batches_only(client):
    assert (await submit(client, lines(1))).status_code == 401
    batch = (await submit(client, lines(1), **ADA)).json()
    await ended(client, batch, ADA)
    path = f"/v1/batches/{batch['id']}"
    for method, end in (("GET", ""), ("DELETE", ""), ("GET", "/results")):
        reply = await client.request(method, path + end, headers=BEN)
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "not_found")
    assert (await client.get("/v1/batches", headers=BEN)).json() == {"batches": []}
    assert len((await client.get("/v1/batches", headers=ADA)).json()["batches"]) == 1
    assert len((await client.get(path + "/results", headers=ADA)).text.splitlines()) == 1


async def test_an_owner_is_the_key_and_not_its_name(app, settings):
    renamed = create_app(Settings(api_keys="second,first", batch_file=settings.batch_file))
    named = create_app(Settings(**KEYS, batch_file=settings.batch_file))
    one, other = (each.keys.identify({b"x-api-key": b"first"}) for each in (renamed, named))
    assert one.identity == other.identity
    assert one.name != other.name
    assert named.keys.identify({b"x-api-key": b"second"}).identity != one.identity


async def test_what_runs_can_be_cancelled(client, model):
    model.gate.clear()
    batch = (await submit(client, lines(3))).json()
    await model.arrivals.acquire()
    told = (await client.delete(f"/v1/batches/{batch['id']}")).json()
    assert told["state"] == "cancelled"
    model.gate.set()
    assert await results(client, batch) == []
    assert (await client.delete(f"/v1/batches/{batch['id']}")).json() == told


@pytest.mark.parametrize("path", ["none", "none/results", "%2e%2e", "a'b", "a" * 65])
async def test_there_is_no_other_batch(client, path):
    assert (await client.get(f"/v1/batches/{path}")).status_code == 404


@pytest.mark.parametrize("query", ["limit=x", "limit=1001", "limit=-1", "after=nothing"])
async def test_a_list_is_asked_for_properly(client, query):
    await submit(client, lines(1))
    assert (await client.get(f"/v1/batches?{query}")).status_code == 422


@pytest.mark.parametrize("after", ["a%00b", "", "a" * 65, "%c3%a9"])
async def test_the_database_is_asked_for_nothing_that_is_no_id(client, app, monkeypatch, after):
    monkeypatch.setattr(app.batches, "list", None)
    assert (await client.get(f"/v1/batches?after={after}")).status_code == 422


async def test_results_are_asked_for_properly(client):
    batch = (await submit(client, lines(1))).json()
    path = f"/v1/batches/{batch['id']}/results"
    assert (await client.get(f"{path}?offset=-1")).status_code == 422
    assert (await client.get(path, headers={"Accept": "application/json"})).status_code == 406
    assert await results(client, batch, offset=99) == []


async def test_a_line_whose_model_is_not_there_fails(client, model, repository):
    batch = (await submit(client, lines(1, model="none"))).json()
    assert (await ended(client, batch))["state"] == "failed"
    assert (await results(client, batch))[0]["error"]["code"] == ModelNotFound.code


async def test_an_unexpected_failure_is_opaque(client, model):
    model.failure = RuntimeError("a secret")
    batch = (await submit(client, lines(1))).json()
    await ended(client, batch)
    error = (await results(client, batch))[0]["error"]
    assert error["code"] == "internal"
    assert "secret" not in json.dumps(error)


async def test_an_answer_that_cannot_be_written_fails_its_line_alone(client, monkeypatch):
    written = []

    def unwritable(*details):
        written.append(details)
        return {"answer": object()} if len(written) == 1 else {"answer": "garden"}

    monkeypatch.setattr("server.api.batches.lines.answer_fields", unwritable)
    batch = (await submit(client, lines(2))).json()
    told = await ended(client, batch)
    assert (told["state"], told["done"], told["failed"]) == ("done", 1, 1)


def test_what_is_logged_after_a_bad_line_is_not_logged_in_its_name(repository):
    reader = TaskLines({"qa": QuestionAnswering()}, repository, 100, 5)
    assert reader.check("qa", Line(0, b"no json")).failed
    assert REQUEST_ID.get() is None


async def test_a_sender_that_leaves_leaves_nothing(client, app):
    async def broken():
        yield lines(2)
        raise OSError

    assert (await client.post("/v1/batches?task=qa", content=broken())).status_code == 500
    assert (await client.get("/v1/batches")).json() == {"batches": []}


async def test_other_methods_are_named(client):
    reply = await client.put("/v1/batches")
    assert reply.status_code == 405
    assert set(reply.headers["allow"].split(", ")) >= {"GET", "POST"}


async def test_metrics_count_batches_and_lines(client, repository):
    repository.models = list
    await ended(client, (await submit(client, lines(3) + b"no\n")).json())
    text = (await client.get("/metrics")).text
    for line in (
        'engram_batches_total{event="accepted"} 1.0',
        'engram_batches_total{event="done"} 1.0',
        'engram_batch_lines_total{outcome="done"} 3.0',
        "engram_batch_running_lines 0.0",
        'engram_http_requests_total{route="/v1/batches/{id}",status="200"}',
    ):
        assert line in text


def test_a_server_without_batches_does_not_load_the_database():
    program = "import sys, server.app; sys.exit('sqlalchemy' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
