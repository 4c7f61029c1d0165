"""What a connection may take before its request reaches the application, over real sockets."""

import asyncio
import logging
from functools import partial

import pytest

from server.api.connection import ConnectionLimits
from server.settings import Settings
from tests.server.fakes import until
from tests.server.sockets import BODY, ask, connected, serving


@pytest.fixture
def serve(app):
    return partial(serving, app)


async def test_a_usual_request_is_answered_and_the_connection_stays(serve):
    async with serve() as port, connected(port) as client:
        for _ in range(3):
            await client.send(ask(), BODY)
            assert (await client.answer())[0] == 200


async def test_a_head_in_many_pieces_is_one_head(serve):
    async with serve() as port, connected(port) as client:
        for _ in range(2):
            await client.send(*ask(), BODY)
            assert (await client.answer())[0] == 200


@pytest.mark.parametrize("at_once", [True, False], ids=["one-read", "many-reads"])
async def test_a_long_head_is_refused(serve, at_once):
    async with serve() as port, connected(port) as client:
        head = ask("X-Long: " + "x" * 3000)
        await client.send(head) if at_once else await client.send(head[:9], head[9:2900])
        error = await client.refused(431, "headers_too_large")
        assert "ENGRAM_MAX_HEADER_BYTES" in error["message"]


async def test_a_head_that_never_ends_is_cut_off(serve):
    async with serve() as port, connected(port) as client:
        await client.send("GET / HTTP/1.1\r\nX-Long: ")
        for _ in range(21):
            await asyncio.sleep(0.005)
            await client.send("x" * 100)
        await client.refused(431, "headers_too_large")


async def test_a_long_path_counts_as_head(serve):
    async with serve() as port, connected(port) as client:
        await client.send(f"GET /{'x' * 3000} HTTP/1.1\r\nHost: x\r\n\r\n")
        await client.refused(431, "headers_too_large")


async def test_too_many_headers_are_refused(serve):
    async with serve() as port, connected(port) as client:
        await client.send(ask(*(f"X-{place}: 1" for place in range(30))))
        error = await client.refused(431, "headers_too_large")
        assert "ENGRAM_MAX_HEADERS" in error["message"]


async def test_a_large_body_beside_a_small_head_is_not_a_large_head(serve):
    async with serve() as port, connected(port) as client:
        body = BODY + b" " * 5000
        await client.send(ask(body=body).encode() + body)
        assert (await client.answer())[0] == 200


async def test_a_slow_head_is_told_and_cut_off(serve):
    async with serve(head_s=0.2) as port, connected(port) as client:
        await client.send("GET /health/live HTTP/1.1\r\nHost:")
        error = await client.refused(408, "request_timeout")
        assert "ENGRAM_HEADER_TIMEOUT_S" in error["message"]


async def test_trickling_does_not_buy_time(serve):
    async with serve(head_s=0.3) as port, connected(port) as client:

        async def trickle():
            for letter in "GET /health/live HTTP/1.1\r\nX-Slow: " + "x" * 1000:
                await client.send(letter)
                await asyncio.sleep(0.02)

        trickling = asyncio.create_task(trickle())
        await client.refused(408, "request_timeout")
        trickling.cancel()
        await asyncio.gather(trickling, return_exceptions=True)


async def test_the_second_head_has_a_limit_too(serve):
    async with serve(head_s=0.2) as port, connected(port) as client:
        await client.send(ask(), BODY)
        assert (await client.answer())[0] == 200
        await client.send("GET /health/live HTTP/1.1\r\nHost:")
        await client.refused(408, "request_timeout")


@pytest.mark.parametrize("sent", ["", "\r\n"], ids=["nothing", "blank-lines"])
async def test_a_connection_that_asks_nothing_is_closed(serve, sent):
    async with serve(head_s=0.2) as port, connected(port) as client:
        await client.send(sent)
        assert await client.ended()


async def test_blank_lines_after_an_answer_do_not_hold_the_connection(serve):
    async with serve(head_s=0.2) as port, connected(port) as client:
        await client.send(ask(), BODY)
        assert (await client.answer())[0] == 200
        await client.send("\r\n")
        assert await client.ended()


async def test_the_rest_of_a_body_that_nobody_reads_must_end(serve):
    async with serve(head_s=0.2) as port, connected(port) as client:
        await client.send("POST /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", "x")
        assert (await client.answer())[0] == 405
        await client.send("x")
        assert await client.ended()


async def test_many_chunks_are_refused(serve):
    async with serve() as port, connected(port) as client:
        await client.send("POST /v1/qa HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.send("1\r\n \r\n" * 11)
        error = await client.refused(413, "payload_too_large")
        assert "ENGRAM_MAX_CHUNKS" in error["message"]


async def test_some_chunks_are_read(serve):
    async with serve() as port, connected(port) as client:
        for _ in range(2):
            await client.send("POST /v1/qa HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            for part in (BODY[:9], BODY[9:10], BODY[10:]):
                await client.send(f"{len(part):x}\r\n", part, "\r\n")
            await client.send("0\r\n\r\n")
            assert (await client.answer())[0] == 200


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"HELLO\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/qa HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/qa HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /v1/qa HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /v1/qa HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nBad Header: x\r\n\r\n",
    ],
    ids=["tls", "word", "version", "negative", "two-lengths", "length-and-chunks", "chunk-size", "blank"],
)
async def test_what_is_no_http_is_told_in_the_words_of_every_error(serve, garbage):
    async with serve() as port, connected(port) as client:
        await client.send(garbage)
        await client.refused(400, "malformed_request")


async def test_below_v2_an_error_of_the_connection_has_the_form_of_that_protocol(serve):
    async with serve() as port, connected(port) as client:
        await client.send("POST /v2/health/live HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        status, body = await client.answer()
        assert status == 400
        assert isinstance(body["error"], str)
        assert await client.ended()


@pytest.mark.parametrize("kind", ["application/json", "image/svg+xml"], ids=["hot", "application"])
async def test_nobody_is_answered_who_has_left(serve, model, app, caplog, kind):
    model.gate.clear()
    async with serve() as port:
        async with connected(port) as client:
            await client.send(ask(f"Accept: {kind}"), BODY)
            await model.arrivals.acquire()
        await until(lambda: app.metrics.http)
    assert app.metrics.http == {("/v1/qa", 499): 1}
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_one_connection_too_many_is_told_to_come_back(serve, caplog):
    async with serve(connections=2) as port, connected(port) as first, connected(port) as second:
        for client in (first, second):
            await client.send(ask(), BODY)
            assert (await client.answer())[0] == 200
        async with connected(port) as third:
            with caplog.at_level(logging.INFO):
                await third.send(ask(), BODY)
                error = await third.refused(429, "overloaded")
            assert third.headers[b"retry-after"] == b"1"
            assert "ENGRAM_MAX_CONNECTIONS" in error["message"]
            assert any(getattr(record, "fields", {}).get("status") == 429 for record in caplog.records)
        await first.send(ask(), BODY)
        assert (await first.answer())[0] == 200


async def test_a_connection_that_ends_makes_room(serve):
    async with serve(connections=1) as port:
        for _ in range(3):
            async with connected(port) as client:
                await client.send(ask("Connection: close"), BODY)
                assert (await client.answer())[0] == 200
                assert await client.ended()


def test_every_limit_is_a_setting():
    settings = Settings(
        max_connections=5, max_header_bytes=2048, max_headers=7, max_chunks=8, header_timeout_s=1.5
    )
    assert ConnectionLimits.of(settings) == ConnectionLimits(5, 2048, 7, 8, 1.5)
