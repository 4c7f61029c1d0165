"""Answers that come step by step: events in order, the whole answer last, an end when the client leaves."""

import asyncio
import json
import time

import httpx2
import pytest

from server.api.exchange import Exchange
from server.api.http_errors import ClientGone
from server.api.streaming import EventStream
from server.app import create_app
from server.errors import Overloaded, RunError
from server.settings import Settings
from server.tasks import TASKS
from tests.server.counting import Counting, CountRequest, Token, alone, write_counting_bundle
from tests.server.fakes import until

REQUEST = {"numbers": [4, 2, 6], "steps": 5, "beam": 2}
STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
async def app(tmp_path, monkeypatch):
    monkeypatch.setitem(TASKS, "compute", Counting)
    write_counting_bundle(tmp_path / "models" / "counting")
    app = create_app(Settings(model_repository=tmp_path / "models", grpc_port=0, metrics_port=0, executors=1))
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def client(app):
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://engram") as client:
        yield client


def events_of(text):
    """Return the names and the data of a stream's events."""
    frames = [frame.split("\n") for frame in text.split("\n\n")[:-1]]
    assert all(len(lines) == 2 for lines in frames)
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in frames]


async def test_every_step_is_an_event_and_the_whole_answer_comes_last(client):
    response = await client.post("/v1/compute", json=REQUEST, headers=STREAM)
    answer, tokens = alone(CountRequest(**REQUEST))
    events = events_of(response.text)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    assert [name for name, _ in events] == ["token"] * 5 + ["done"]
    assert [data["digit"] for _, data in events[:-1]] == [token.digit for token in tokens]
    assert events[0][1] == {"type": "token", "digit": tokens[0].digit, "places": tokens[0].places}
    done = events[-1][1]
    assert (done["digits"], done["score"]) == (answer.digits, answer.score)
    assert done["model"] == {"name": "counting", "version": 1}
    assert set(done["timing_ms"]) == {"queue", "compute", "total"}


async def test_the_same_answer_comes_in_one_piece(client):
    response = await client.post("/v1/compute", json=REQUEST)
    assert response.json()["digits"] == alone(CountRequest(**REQUEST))[0].digits


async def test_an_answer_without_a_step_is_streamed_too(client):
    response = await client.post("/v1/compute", json={"numbers": [1], "steps": 0}, headers=STREAM)
    assert [name for name, _ in events_of(response.text)] == ["done"]


async def test_what_fails_before_the_first_event_is_an_ordinary_error(client):
    response = await client.post("/v1/compute", json={**REQUEST, "fail_at": 0}, headers=STREAM)
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal"
    response = await client.post("/v1/compute", json={"steps": 1}, headers=STREAM)
    assert response.status_code == 422
    response = await client.post("/v1/compute", json={**REQUEST, "model": "other"}, headers=STREAM)
    assert response.status_code == 404


async def test_what_fails_midway_is_the_last_event(client):
    headers = {**STREAM, "X-Request-Id": "mine"}
    response = await client.post("/v1/compute", json={**REQUEST, "fail_at": 2}, headers=headers)
    assert response.status_code == 200
    events = events_of(response.text)
    assert [name for name, _ in events] == ["token", "token", "error"]
    assert events[-1][1]["error"]["code"] == "internal"
    assert events[-1][1]["error"]["request_id"] == "mine"


async def test_a_deadline_that_passes_midway_is_told(client):
    headers = {**STREAM, "X-Timeout-Ms": "200"}
    response = await client.post("/v1/compute", json={**REQUEST, "steps": 10**6}, headers=headers)
    events = events_of(response.text)
    assert events[0][0] == "token"
    assert events[-1][0] == "error"
    assert events[-1][1]["error"]["code"] == "deadline_exceeded"


async def test_steps_and_their_rows_are_metrics(client):
    await client.post("/v1/compute", json=REQUEST)
    lines = (await client.get("/metrics")).text.splitlines()
    labels = '{model="counting",version="1"}'
    assert f"engram_steps_total{labels} 5.0" in lines
    assert f"engram_step_rows_total{labels} {1 + 2 * 4}.0" in lines
    assert f"engram_running_requests{labels} 0.0" in lines


async def test_a_task_without_events_does_not_stream(client):
    body = {"story": ["Anna went to the hall."], "question": "Where is Anna?"}
    response = await client.post("/v1/qa", json=body, headers=STREAM)
    assert response.status_code == 406


async def test_a_client_that_leaves_ends_its_search(app):
    model = app.repository.get("counting")
    sent = asyncio.Queue()
    body = json.dumps({**REQUEST, "steps": 10**6}).encode()
    inbox = asyncio.Queue()
    inbox.put_nowait({"type": "http.request", "body": body})
    headers = [(b"accept", b"text/event-stream"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/v1/compute", "headers": headers}
    scope |= {"query_string": b"", "raw_path": b"/v1/compute", "http_version": "1.1", "scheme": "http"}
    serving = asyncio.create_task(app(scope, inbox.get, sent.put))
    assert (await sent.get())["status"] == 200
    assert b"event: token" in (await sent.get())["body"]
    assert model.running == 1
    inbox.put_nowait({"type": "http.disconnect"})
    await serving
    await until(lambda: model.running == 0)
    assert model.statistics.endings["cancelled"] == 1


TOKENS = [Token(digit, []) for digit in range(4)]


def stream(send, deadline=10.0):
    return EventStream(Exchange({"headers": []}), send, time.monotonic() + deadline)


async def test_events_wait_for_a_slow_reader_and_the_search_does_not():
    pieces, resume = [], asyncio.Event()

    async def send(message):
        pieces.append(message.get("body", b""))
        await resume.wait()

    async def work(tell):
        for token in TOKENS:
            tell([token])
            await asyncio.sleep(0)
        return b"{}"

    writing = asyncio.create_task(stream(send).write(work))
    await until(lambda: pieces)
    for _ in range(10):
        await asyncio.sleep(0)
    assert pieces == [b""]  # the head is on its way; the search is over
    resume.set()
    await writing
    assert pieces[1].count(b"event: token") == 4
    assert pieces[2] == b"event: done\ndata: {}\n\n"


async def test_a_reader_that_takes_for_ever_is_let_go_with_its_search(monkeypatch):
    monkeypatch.setattr("server.api.streaming.LINGER_S", 0.0)

    async def send(message):
        await asyncio.sleep(10)

    ended = []

    async def work(tell):
        tell(TOKENS)
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            ended.append(True)
            raise

    with pytest.raises(ClientGone):
        await stream(send, 0.05).write(work)
    assert ended == [True]


@pytest.mark.parametrize("error", [RunError("broken"), Overloaded("full", 1.0)], ids=["run", "overloaded"])
async def test_a_failure_without_an_event_is_raised(error):
    async def work(tell):
        raise error

    with pytest.raises(type(error)):
        await stream(None).write(work)
