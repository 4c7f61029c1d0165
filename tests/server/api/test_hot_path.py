"""Plain requests are answered by their connection, and a client cannot tell which way its request went."""

import asyncio
import gzip
import json
import logging
import re

import pytest

from server.api import hot_connection
from server.app import create_app
from server.errors import ModelNotReady
from server.settings import Settings
from tests.server.api.conftest import QUESTION
from tests.server.fakes import until
from tests.server.sockets import BODY, ask, connected, serving

KEY = "k" * 32
LONG = json.dumps({**QUESTION, "story": QUESTION["story"] * 2, "top_k": 5}).encode()
CHANGING = {b"x-request-id", b"date"}


@pytest.fixture
def settings():
    return Settings(max_body_bytes=20_000, gzip_min_bytes=500, api_keys=f"shop:{KEY}")


@pytest.fixture
def taken(app):
    """The scopes of the requests that took the hot path."""
    taken, answer = [], app.hot_path.answer

    def note(endpoint, scope, body, departure):
        taken.append(scope)
        return answer(endpoint, scope, body, departure)

    app.hot_path.answer = note
    return taken


def asking(*headers, body=BODY, key=KEY):
    return ask(f"X-API-Key: {key}", *headers, body=body).encode() + body


async def answered(app, request, *, hot):
    async with serving(app, hot=hot) as port, connected(port) as client:
        await client.send(request)
        status, body = await client.raw_answer()
        told = body if client.headers.get(b"content-encoding") is None else gzip.decompress(body)
        headers = {name: value for name, value in client.headers.items() if name not in CHANGING}
        if b"content-encoding" in headers or b"timing_ms" in told:
            headers.pop(b"content-length")
        return status, headers, re.sub(rb'("total"|"request_id"):[^}]*', rb"\1", told)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (asking(), 200),
        (asking("Accept: application/json", "Content-Type: text/plain"), 200),
        (asking("Accept-Encoding: gzip", body=LONG), 200),
        (asking(body=LONG), 200),
        (asking("Connection: close"), 200),
        (asking(body=b"{"), 400),
        (asking(body=b'{"story": 5}'), 422),
        (asking(body=b"[" * 100 + b"]" * 100), 400),
        (asking(body=json.dumps({**QUESTION, "model": "none"}).encode()), 404),
        (asking("X-Timeout-Ms: soon"), 422),
        (asking(key="wrong"), 401),
    ],
    ids=[
        "plain",
        "json-wanted",
        "gzip",
        "long",
        "close",
        "no-json",
        "another-shape",
        "deep",
        "no-such-model",
        "odd-deadline",
        "wrong-key",
    ],
)
async def test_the_answer_is_the_same_either_way(app, taken, request_bytes, status):
    hot = await answered(app, request_bytes, hot=True)
    assert len(taken) == 1
    assert hot == await answered(app, request_bytes, hot=False)
    assert len(taken) == 1
    assert hot[0] == status
    assert list(app.metrics.http.values()) == [2]


@pytest.mark.parametrize(
    "request_bytes",
    [
        asking("Accept: image/svg+xml"),
        asking("Content-Encoding: gzip", body=gzip.compress(BODY)),
        asking("Expect: 100-continue").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1),
        asking(body=BODY + b" " * 30_000),
        asking().replace(b"HTTP/1.1", b"HTTP/1.0", 1),
        asking().replace(b"/v1/qa", b"/v1/qa?a=b", 1),
        asking().replace(b"/v1/qa", b"/v1/qa/", 1),
        asking().replace(b"POST", b"PUT", 1),
    ],
    ids=["picture", "compressed", "expect", "large", "old-http", "query", "slash", "method"],
)
async def test_what_is_unusual_goes_to_the_application(app, taken, request_bytes):
    async with serving(app) as port, connected(port) as client:
        await client.send(request_bytes)
        assert (await client.reader.readline()).startswith(b"HTTP/1.1 ")
    assert not taken


async def test_a_request_gets_its_id_its_line_and_its_time(app, taken, caplog):
    with caplog.at_level(logging.INFO):
        async with serving(app) as port, connected(port) as client:
            await client.send(asking("X-Request-Id: mine"))
            _, body = await client.answer()
    assert client.headers[b"x-request-id"] == b"mine"
    [line] = [record.fields for record in caplog.records if record.message == "request"]
    assert (line["method"], line["path"], line["status"], line["key"]) == ("POST", "/v1/qa", 200, "shop")
    assert 0 < body["timing_ms"]["total"] <= line["total_ms"]


async def test_many_requests_on_one_connection_are_answered_in_order(app, taken):
    async with serving(app) as port, connected(port) as client:
        await client.send(*(asking(f"X-Request-Id: {place}") for place in range(4)))
        for place in range(4):
            assert (await client.answer())[0] == 200
            assert client.headers[b"x-request-id"] == b"%d" % place


async def test_requests_that_come_in_one_piece_wait_for_each_other(app, taken):
    async with serving(app) as port, connected(port) as client:
        await client.send(b"".join(asking(f"X-Request-Id: {place}") for place in range(4)))
        for place in range(4):
            assert (await client.answer())[0] == 200
            assert client.headers[b"x-request-id"] == b"%d" % place
    assert len(taken) == 1  # the others had to wait, which uvicorn sees to


async def test_a_body_in_pieces_is_one_body(app, taken, monkeypatch):
    monkeypatch.setattr(hot_connection, "PATIENCE_S", 10)
    async with serving(app) as port, connected(port) as client:
        request = asking()
        await client.send(request[:-9])
        await asyncio.sleep(0.01)
        await client.send(request[-9:])
        assert (await client.answer())[0] == 200
    assert len(taken) == 1


async def test_a_slow_body_goes_to_the_application_which_has_a_deadline_for_it(app, taken):
    async with serving(app) as port, connected(port) as client:
        await client.send(asking("X-Timeout-Ms: 100")[:-9])
        status, body = await client.answer()
        assert (status, body["error"]["code"]) == (504, "deadline_exceeded")
    assert not taken


async def test_a_slow_body_that_comes_is_answered(app, taken, monkeypatch):
    monkeypatch.setattr(hot_connection, "PATIENCE_S", 0.001)
    async with serving(app) as port, connected(port) as client:
        request = asking()
        await client.send(request[:-9])
        await asyncio.sleep(0.05)
        await client.send(request[-9:])
        assert (await client.answer())[0] == 200
    assert not taken


async def test_a_client_that_leaves_stops_its_request(app, taken, model, caplog):
    model.gate.clear()
    with caplog.at_level(logging.INFO):
        async with serving(app) as port:
            async with connected(port) as client:
                await client.send(asking())
                await model.arrivals.acquire()
            await until(lambda: app.metrics.http)
    assert (len(taken), model.cancelled) == (1, 1)
    assert app.metrics.http == {("/v1/qa", 499): 1}


@pytest.mark.parametrize("cut", [1, len(BODY) - 1], ids=["nearly-all", "head"])
async def test_a_client_that_leaves_in_the_middle_of_a_body_is_counted(app, cut, caplog):
    async with serving(app) as port:
        async with connected(port) as client:
            await client.send(asking()[:-cut])
            await asyncio.sleep(0.005)
        await until(lambda: app.metrics.http)
    assert app.metrics.http == {("/v1/qa", 499): 1}
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_request_cut_off_by_a_shutdown_is_told_so(app, taken, model):
    model.gate.clear()
    async with serving(app) as port, connected(port) as client:
        await client.send(asking())
        await model.arrivals.acquire()
        [task] = [task for task in asyncio.all_tasks() if "_answer_hot" in repr(task)]
        task.cancel()
        status, body = await client.answer()
        assert (status, body["error"]["code"]) == (503, "shutting_down")


async def test_a_surprise_is_opaque(app, taken, model):
    model.failure = KeyError("/secret/path")
    async with serving(app) as port, connected(port) as client:
        await client.send(asking())
        status, body = await client.answer()
        assert (status, body["error"]["code"]) == (500, "internal")
        model.failure = ModelNotReady("tiny is loading")
        await client.send(asking())
        assert (await client.answer())[0] == 503


async def test_with_cors_every_answer_is_the_applications(repository):
    app = create_app(Settings(cors_origins=["http://page"]), repository)
    async with serving(app) as port, connected(port) as client:
        await client.send(ask("Origin: http://page"), BODY)
        assert (await client.answer())[0] == 200
        assert client.headers[b"access-control-allow-origin"] == b"http://page"


async def test_without_keys_nobody_is_asked_for_one(repository):
    app = create_app(Settings(), repository)
    async with serving(app) as port, connected(port) as client:
        await client.send(ask(), BODY)
        assert (await client.answer())[0] == 200
