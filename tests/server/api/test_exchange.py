"""What every request gets: a log line, an id, an answer even when the server is cut off."""

import asyncio
import logging

import orjson

from tests.server.api.conftest import QUESTION


def request_lines(caplog):
    return [record.fields for record in caplog.records if record.message == "request"]


async def test_one_line_a_request_with_what_happened(client, caplog):
    with caplog.at_level(logging.INFO):
        await client.post("/v1/qa", json=QUESTION)
        await client.get("/nowhere")
    answered, missed = request_lines(caplog)
    assert (
        answered.items()
        >= {
            "method": "POST",
            "path": "/v1/qa",
            "status": 200,
            "model": "tiny",
            "batch_size": 1,
            "queue_ms": 0.25,
            "compute_ms": 0.5,
        }.items()
    )
    assert answered["total_ms"] > 0
    assert missed["status"] == 404


async def test_long_path_is_cut_in_the_log(client, caplog):
    with caplog.at_level(logging.INFO):
        await client.get("/" + "a" * 5000)
    assert len(request_lines(caplog)[0]["path"]) == 512


async def test_request_cut_off_by_a_shutdown_is_told_so(app, model):
    model.gate.clear()
    sent = []
    messages = [{"type": "http.request", "body": orjson.dumps(QUESTION), "more_body": False}]

    async def receive():
        return messages.pop() if messages else await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/qa",
        "headers": [],
        "query_string": b"",
        "root_path": "",
    }
    task = asyncio.create_task(app(scope, receive, send))
    await model.arrivals.acquire()
    task.cancel()
    await task
    assert sent[0]["status"] == 503
    assert b'"shutting_down"' in sent[1]["body"]


async def test_websocket_is_turned_away(app):
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message["type"])

    scope = {"type": "websocket", "path": "/v1/qa", "headers": [], "query_string": b"", "root_path": ""}
    await app(scope, receive, send)
    assert sent == ["websocket.close"]
