"""Executors that are saturated, die or hang: deadlines hold, the abandoned never runs, all recovers."""

import asyncio
import time

import pytest

from tests.processes import QUESTION, Client, ServerProcess, ask, once, until
from tests.server.fakes import write_bundle

pytestmark = pytest.mark.alone

SLOW = ("-m", "tests.end_to_end.slow_server")
MARKED = {**QUESTION, "story": ["Anna took the lamp."]}
DEADLY = {**QUESTION, "story": ["Anna took the box."]}
HANGING = {**QUESTION, "story": ["Anna went to the cellar."]}
MARGIN_S = 2.0
"""What a busy machine may add to a moment."""


@pytest.fixture
def serve(tmp_path, monkeypatch):
    started = []
    write_bundle(tmp_path / "models" / "tiny")

    def start(*options, run_s):
        monkeypatch.setenv("SLOW_RUN_S", str(run_s))
        started.append(ServerProcess(tmp_path / "models", *options, program=SLOW))
        return started[-1]

    yield start
    for server in started:
        server.kill()


def marked_that_ran(server):
    return sum(line["marked"] for line in server.lines("^ran$"))


async def endings(port):
    _, text = await once(port, "GET", "/metrics")
    lines = [line for line in text.splitlines() if line.startswith('engram_requests_total{ending="')]
    return {line.split('"')[1]: float(line.split()[-1]) for line in lines}


async def test_abandoned_and_expired_requests_are_answered_in_time_or_dropped_and_never_run(serve):
    server = serve("--max-batch-size", "1", "--executors", "1", run_s=3)
    busy = asyncio.create_task(ask(server.port))
    await asyncio.to_thread(server.wait_for, "^ran$")

    leaving = [Client(server.port) for _ in range(10)]
    asked = [asyncio.create_task(client.ask(MARKED)) for client in leaving]
    await asyncio.sleep(0.3)
    for client in leaving:
        client.close()
    await asyncio.gather(*asked, return_exceptions=True)

    started = time.monotonic()
    answers = await asyncio.gather(*(ask(server.port, MARKED, timeout_ms=300) for _ in range(10)))
    assert time.monotonic() - started < 0.3 + MARGIN_S
    assert not busy.done()  # so no executor was free meanwhile
    assert {(status, told["error"]["code"]) for status, told in answers} == {(504, "deadline_exceeded")}
    assert max(told["error"]["details"]["waited_ms"] for _, told in answers) < 1e3 * (0.3 + MARGIN_S)

    assert (await busy)[0] == 200
    assert (await ask(server.port))[0] == 200  # the queue has been worked off
    assert marked_that_ran(server) == 0
    counted = await endings(server.port)
    assert (counted["cancelled"], counted["expired"], counted["ok"]) == (10, 10, 2)
    assert server.end() == 0


async def test_an_executor_that_dies_under_load_costs_its_batch_and_nothing_else(serve):
    server = serve("--max-batch-size", "4", run_s=0.02)
    stop = False
    seen = []

    async def keep_asking():
        client = Client(server.port)
        while not stop:
            seen.append(await client.ask())
        client.close()

    tasks = [asyncio.create_task(keep_asking()) for _ in range(8)]
    for _ in range(3):
        status, told = await ask(server.port, DEADLY)
        assert (status, told["error"]["code"]) == (503, "executor_lost")
        enough = len(seen) + 16
        await until(lambda enough=enough: len(seen) >= enough)
    stop = True
    await asyncio.gather(*tasks)
    assert {status for status, _ in seen} <= {200, 503}
    lost = [told for status, told in seen if status == 503]
    assert {told["error"]["code"] for told in lost} <= {"executor_lost"}
    assert len(lost) <= 9  # three in each batch that died
    assert (await once(server.port, "GET", "/health/ready"))[0] == 200
    assert server.end() == 0


async def test_an_executor_that_hangs_is_noticed_and_replaced(serve):
    server = serve("--executor-stall-s", "1", run_s=0)
    started = time.monotonic()
    status, told = await ask(server.port, HANGING)
    assert (status, told["error"]["code"]) == (503, "executor_lost")
    assert 0.9 < time.monotonic() - started < 1 + MARGIN_S
    assert (await ask(server.port))[0] == 200
    assert (await once(server.port, "GET", "/health/ready"))[0] == 200
    assert server.end() == 0
