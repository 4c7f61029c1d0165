"""SIGTERM under load: not ready first, then no new connections, and every accepted request is answered."""

import asyncio
import os
import signal
from collections import Counter

import pytest

from tests.processes import Client, ServerProcess, ask, once, until
from tests.server.fakes import write_bundle

pytestmark = pytest.mark.alone

SLOW = ("-m", "tests.end_to_end.slow_server")


class Traffic:
    """Clients that ask one question after the other until the server lets none in any more."""

    def __init__(self, port):
        self.port = port
        self.seen = Counter()
        self.lost = []
        self.not_ready = False

    async def watch_readiness(self):
        while True:
            try:
                status, _ = await once(self.port, "GET", "/health/ready")
            except OSError:
                return
            self.not_ready |= status == 503
            await asyncio.sleep(0.02)

    async def keep_asking(self):
        client = Client(self.port)
        while True:
            fresh = client.writer is None
            try:
                status, told = await client.ask()
            except ConnectionRefusedError:
                assert self.not_ready, "refused before the server said that it is not ready"
                self.seen["refused"] += 1
                return
            except (OSError, EOFError) as error:
                if fresh and self.not_ready:  # the system had completed the connection, nobody accepted it
                    self.seen["refused"] += 1
                else:
                    self.lost.append(repr(error))
                client.close()
                continue
            code = told["error"]["code"] if status != 200 else "answered"
            self.seen[code] += 1


@pytest.mark.parametrize(
    ("program", "options"),
    [
        pytest.param(SLOW, ("--max-batch-size", "4"), id="one-process"),
        pytest.param(("-m", "server"), ("--workers", "2"), id="two-workers", marks=pytest.mark.slow),
    ],
)
async def test_nothing_is_lost_when_the_server_stops_under_load(tmp_path, program, options):
    write_bundle(tmp_path / "models" / "tiny")
    server = await asyncio.to_thread(
        ServerProcess, tmp_path / "models", *options, "--drain-s", "1", program=program
    )
    try:
        traffic = Traffic(server.port)
        clients = [asyncio.create_task(traffic.keep_asking()) for _ in range(16)]
        readiness = asyncio.create_task(traffic.watch_readiness())
        await until(lambda: traffic.seen["answered"] >= 100)
        before = traffic.seen["answered"]
        server.process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(asyncio.gather(*clients, readiness), 60)
        assert await asyncio.to_thread(server.wait) == 0
    finally:
        server.kill()
    assert traffic.lost == []
    assert traffic.not_ready
    assert traffic.seen["answered"] > before  # it went on answering while it reported not ready
    assert traffic.seen.keys() <= {"answered", "refused", "shutting_down"}


async def test_what_runs_when_the_drain_is_over_is_still_answered(tmp_path, monkeypatch):
    monkeypatch.setenv("SLOW_RUN_S", "1.5")
    write_bundle(tmp_path / "models" / "tiny")
    server = await asyncio.to_thread(
        ServerProcess, tmp_path / "models", "--drain-s", "0", "--max-batch-size", "1", program=SLOW
    )
    try:
        asked = [asyncio.create_task(ask(server.port)) for _ in range(3)]
        await asyncio.to_thread(server.wait_for, "ran")
        os.kill(server.process.pid, signal.SIGTERM)
        assert [status for status, _ in await asyncio.gather(*asked)] == [200] * 3
        assert await asyncio.to_thread(server.wait) == 0
    finally:
        server.kill()
