import asyncio

import pytest

from benchmarks.open_loop import Connections, Shot, open_loop
from benchmarks.traces import http_post

POST = http_post("/v1/qa", b"{}")
REFUSAL = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"


@pytest.fixture
async def serve():
    """Start servers that write given pieces for every request and count what they read."""
    servers = []

    async def start(*pieces):
        seen = {"requests": 0}

        async def answer(reader, writer):
            while await reader.read(len(POST)):
                seen["requests"] += 1
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
            writer.close()

        servers.append(await asyncio.start_server(answer, "127.0.0.1", 0))
        return servers[-1].sockets[0].getsockname()[1], seen

    yield start
    for server in servers:
        server.close()


async def test_every_request_is_sent_and_its_answer_noted(serve):
    port, seen = await serve(ANSWER)
    shots = await open_loop(port, [POST], rate=500, seconds=0.1, patience_s=5)
    assert len(shots) == seen["requests"] == 50
    assert {shot.status for shot in shots} == {200}
    assert all(shot.due <= shot.sent <= shot.answered for shot in shots)


async def test_a_refusal_and_its_retry_after_are_noted(serve):
    port, _ = await serve(REFUSAL)
    shots = await open_loop(port, [POST], rate=100, seconds=0.05, patience_s=5)
    assert {(shot.status, shot.has_retry_after) for shot in shots} == {(429, True)}


async def test_an_answer_may_come_in_pieces(serve):
    port, _ = await serve(ANSWER[:9], ANSWER[9:30], ANSWER[30:])
    shots = await open_loop(port, [POST], rate=100, seconds=0.05, patience_s=5)
    assert {shot.status for shot in shots} == {200}


async def test_requests_leave_when_due_although_none_is_answered(serve):
    port, seen = await serve()
    shots = await open_loop(port, [POST], rate=1000, seconds=0.6, patience_s=0.2)
    assert seen["requests"] == len(shots) == 600  # more than there are idle connections at the start
    assert {shot.status for shot in shots} == {0}


async def test_a_connection_that_closes_ends_the_wait_for_its_answer(serve):
    port, _ = await serve()
    async with Connections(port) as connections, asyncio.timeout(5):
        connection, shot = await connections.open(), Shot(0.0)
        connection.send(shot, POST)
        connection.close()
        await connections.until_quiet(10)
    assert (shot.status, shot.sent > 0) == (0, True)
