"""Batches and the end of whatever works on them: every line is answered exactly once."""

import asyncio
import os
import re
import signal
import sqlite3
from pathlib import Path

import pytest

from tests.end_to_end import killing
from tests.end_to_end.postgresql import postgresql

pytestmark = pytest.mark.slow


def test_a_batch_outlives_ten_kills(tmp_path):
    count, options = 20_000, ("--batch-file", str(tmp_path / "batches.sqlite3"))
    with killing.server(*options) as first:
        batch_id = killing.submit(first.port, count)
    done = killing.kill_while_working(options, batch_id, 10)
    assert done == sorted(set(done))  # each time a little more, and nothing was undone
    assert done[-1] < count
    with killing.server(*options) as last:
        killing.check(last.port, batch_id, count)
        left = count - killing.lines_done(last.port)
        assert done[-1] <= left + 1000  # what was done is not done again
    with sqlite3.connect(tmp_path / "batches.sqlite3") as database:
        assert database.execute("SELECT count(*) FROM engram_batch_parts").fetchone() == (0,)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_workers_share_a_batch_and_one_is_killed(tmp_path):
    options = ("--batch-file", str(tmp_path / "batches.sqlite3"), "--workers", "2")
    with killing.server(*options) as both:
        batch_id = killing.submit(both.port, 4000)
        with killing.client(both.port) as asking:
            killing.until(lambda: killing.finished(asking, batch_id) > 200)
        os.kill(both.workers()[0], signal.SIGKILL)
        killing.check(both.port, batch_id, 4000)


def test_a_large_file_takes_little_memory(tmp_path):
    path = tmp_path / "lines.jsonl"
    killing.write_lines(path, 20_000)
    with killing.server("--batch-file", str(tmp_path / "batches.sqlite3")) as running:
        with killing.client(running.port) as asking:
            warm = asking.batches.submit("qa", list(killing.requests(200)))
            list(asking.batches.results(warm.id, interval=0.1))
            before = resident_mb(running.process.pid)
            batch = asking.batches.submit("qa", path)
            asking.batches.cancel(batch.id)
        grown = resident_mb(running.process.pid, "VmHWM") - before
    assert path.stat().st_size > 3_000_000
    assert grown < 40


async def test_two_servers_share_a_batch_on_postgresql_and_are_killed(tmp_path):
    count = 6000
    async with asyncio.timeout(300):
        with postgresql(tmp_path) as url:
            await asyncio.to_thread(share_and_kill, ("--batch-database", url), count)


def share_and_kill(options, count):
    with killing.server(*options) as one, killing.server(*options) as other:
        batch_id = killing.submit(one.port, count)
        with killing.client(other.port) as asking:
            killing.until(lambda: killing.finished(asking, batch_id) > count // 4)
        shares = [killing.lines_done(each.port) for each in (one, other)]
        assert min(shares) > count // 20  # both work
    killing.kill_while_working(options, batch_id, 3)
    with killing.server(*options) as one, killing.server(*options) as other:
        killing.check(other.port, batch_id, count)
        assert one.lines("is not ready") == []


def resident_mb(pid, what="VmRSS"):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{what}:\s+(\d+) kB", status)[1]) / 1024
