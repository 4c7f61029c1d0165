import asyncio
import socket
import threading
import time as real_time
from datetime import UTC, datetime

import httpx2
import pytest
from conftest import STORY, error_reply

import engram
from engram.retry import backoff_s, retry_after_s, wait_s

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def client(server, time):
    transport = httpx2.MockTransport(server)
    with engram.Client(transport=transport, sleep=time.sleep, clock=time.clock, random=lambda: 0.0) as client:
        yield client


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_status_that_may_pass_is_asked_again(client, server, time, status):
    server.queue += [httpx2.Response(status), httpx2.Response(status)]
    assert client.ask(STORY, "Where?").answer == "garden"
    assert time.slept == [0.5, 1.0]


@pytest.mark.parametrize("status", [400, 404, 422, 500])
def test_a_status_that_would_come_back_is_not_asked_again(client, server, time, status):
    server.queue.append(httpx2.Response(status))
    with pytest.raises(engram.APIStatusError):
        client.ask(STORY, "Where?")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(httpx2.ConnectError("refused"), id="refused"),
        pytest.param(httpx2.ConnectTimeout("slow"), id="connect_timeout"),
        pytest.param(httpx2.ReadError("reset"), id="reset"),
        pytest.param(httpx2.RemoteProtocolError("closed"), id="closed"),
    ],
)
def test_a_lost_connection_is_made_again(client, server, time, failure):
    server.queue.append(failure)
    assert client.ask(STORY, "Where?").answer == "garden"
    assert time.slept == [0.5]


def test_after_two_retries_the_last_error_is_raised(client, server, time):
    server.queue += [
        error_reply(503, "executor_lost"),
        error_reply(429, "overloaded"),
        error_reply(503, "shutting_down"),
    ]
    with pytest.raises(engram.ShuttingDown):
        client.ask(STORY, "Where?")
    assert len(server.requests) == 3


def test_the_number_of_retries_is_an_option(client, server):
    server.queue.append(error_reply(503, "executor_lost"))
    with pytest.raises(engram.ExecutorLost):
        client.with_options(retries=0).ask(STORY, "Where?")
    assert len(server.requests) == 1


def test_attempts_share_a_request_id_and_calls_do_not(client, server):
    server.queue += [httpx2.Response(503)]
    client.ask(STORY, "Where?")
    client.ask(STORY, "Where?")
    first, again, other = (request.headers["X-Request-Id"] for request in server.requests)
    assert first == again != other


def test_the_server_is_told_the_time_that_is_left(client, server):
    server.queue += [httpx2.Response(503), httpx2.Response(503)]
    client.ask(STORY, "Where?", timeout=5.0)
    assert [request.headers["X-Timeout-Ms"] for request in server.requests] == ["5000", "4500", "3500"]


def test_every_phase_gets_what_is_left_and_connecting_five_seconds_at_most(client, server, time):
    client.ask(STORY, "Where?", timeout=20.0)
    timeouts = server.requests[0].extensions["timeout"]
    assert dict(timeouts) == {"connect": 5.0, "pool": 20.25, "read": 20.25, "write": 20.25}
    time.now += 18.0
    assert dict(timeouts) == {"connect": 2.25, "pool": 2.25, "read": 2.25, "write": 2.25}


def test_a_wait_that_would_pass_the_deadline_is_not_begun(client, server, time):
    server.queue.append(error_reply(429, "overloaded", headers={"Retry-After": "7"}))
    with pytest.raises(engram.Overloaded) as caught:
        client.ask(STORY, "Where?", timeout=5.0)
    assert caught.value.retry_after == 7.0
    assert time.slept == []


def test_retry_after_decides_the_wait(client, server, time):
    server.queue.append(error_reply(429, "overloaded", headers={"Retry-After": "3"}))
    client.ask(STORY, "Where?")
    assert time.slept == [3.0]


def test_the_answer_has_a_moment_beyond_the_deadline_to_arrive(client, server):
    client.ask(STORY, "Where?", timeout=2.0)
    assert server.requests[0].extensions["timeout"]["read"] == 2.25


def test_a_read_that_takes_too_long_is_a_timeout_and_not_repeated(client, server):
    server.queue.append(httpx2.ReadTimeout("slow"))
    with pytest.raises(
        engram.Timeout, match=r"no answer from http://127.0.0.1:8000/v1/qa within 2 s"
    ) as caught:
        client.ask(STORY, "Where?", timeout=2.0)
    assert caught.value.request_id == server.requests[0].headers["X-Request-Id"]
    assert len(server.requests) == 1


def test_backoff_doubles_to_eight_seconds_and_chance_takes_up_to_a_quarter():
    assert [backoff_s(attempt, lambda: 0.0) for attempt in range(6)] == [0.5, 1, 2, 4, 8, 8]
    assert backoff_s(10_000, lambda: 0.0) == 8
    assert backoff_s(1, lambda: 1.0) == 0.75


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        pytest.param({}, None, id="absent"),
        pytest.param({"retry-after": "7"}, 7.0, id="seconds"),
        pytest.param({"retry-after": "0.25"}, 0.25, id="fraction"),
        pytest.param({"retry-after": "-3"}, 0.0, id="negative"),
        pytest.param({"retry-after": "soon"}, None, id="words"),
        pytest.param({"retry-after": "nan"}, None, id="nan"),
        pytest.param({"retry-after": "inf"}, None, id="infinite"),
        pytest.param({"retry-after": "Sat, 21 Nov 2026 12:00:09 GMT"}, 9.0, id="date"),
        pytest.param({"retry-after": "Sat, 21 Nov 2026 11:00:00 GMT"}, 0.0, id="past_date"),
        pytest.param(
            {"retry-after": "Sat, 21 Nov 2026 15:00:09 GMT", "date": "Sat, 21 Nov 2026 15:00:05 GMT"},
            4.0,
            id="date_by_the_servers_clock",
        ),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(headers, seconds):
    assert retry_after_s(headers, NOW) == seconds


def test_no_server_can_make_a_client_wait_for_more_than_a_minute():
    assert wait_s(0, 86_400.0, lambda: 0.0) == 60.0


async def test_the_async_client_waits_and_asks_again_as_the_blocking_one_does(server, time):
    server.queue += [httpx2.Response(503), httpx2.ConnectError("refused")]
    transport = httpx2.MockTransport(server)
    client = engram.AsyncClient(
        transport=transport, sleep=time.sleep_async, clock=time.clock, random=lambda: 0.0
    )
    async with client:
        assert (await client.ask(STORY, "Where?", timeout=9.0)).answer == "garden"
    assert [request.headers["X-Timeout-Ms"] for request in server.requests] == ["9000", "8500", "7500"]


async def test_the_async_client_gives_up_on_a_server_that_never_answers():
    async def never(request):
        await asyncio.Event().wait()

    async with engram.AsyncClient(transport=httpx2.MockTransport(never)) as client:
        with pytest.raises(engram.Timeout, match=r"within 0.01 s"):
            await client.ask(STORY, "Where?", timeout=0.01)


async def test_a_cancelled_call_stays_cancelled():
    async def never(request):
        await asyncio.Event().wait()

    async with engram.AsyncClient(transport=httpx2.MockTransport(never)) as client:
        call = asyncio.create_task(client.ask(STORY, "Where?"))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


def test_a_body_that_drips_is_given_up_at_the_deadline():
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip():
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                while not stop.wait(0.02):
                    connection.sendall(b" ")

        thread = threading.Thread(target=drip)
        thread.start()
        started = real_time.monotonic()
        client = engram.Client(f"http://127.0.0.1:{listener.getsockname()[1]}", retries=0)
        with client, pytest.raises(engram.Timeout):
            client.ask(STORY, "Where?", timeout=0.1)
        took_s = real_time.monotonic() - started
        stop.set()
        thread.join()
    assert took_s < 2.0
