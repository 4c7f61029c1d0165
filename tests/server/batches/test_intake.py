"""Batches on their way in: slow, huge and broken-off bodies."""

import asyncio
from threading import Event

import pytest
from sqlalchemy import func, select

from server.batches.intake import Intake, Limits
from server.batches.keeping import STALE_S
from server.batches.records import Result
from server.batches.tables import BATCHES, PARTS, RESULTS
from server.batches.threads import Threads
from tests.server.batches.conftest import ADA


class Reader:
    """Takes every line for a request but those that say ``no``; ``gate`` holds it back."""

    def __init__(self):
        self.gate = Event()
        self.gate.set()
        self.begun = Event()

    def check(self, task, line):
        self.begun.set()
        assert self.gate.wait(10)
        return Result(line.number, b"{}", failed=True) if line.body == b"no" else None


@pytest.fixture
async def threads():
    threads = Threads()
    yield threads
    threads.close()


@pytest.fixture
def reader():
    return Reader()


@pytest.fixture
def intake(store, database, threads, reader):
    return Intake(database, store.receiving, threads, reader, Limits(10**6, 1000, 0))


def rows(database):
    tables = (BATCHES, PARTS, RESULTS)
    return database.read(
        lambda connection, _: [
            connection.execute(select(func.count()).select_from(table)).scalar_one() for table in tables
        ]
    )


async def test_a_body_may_come_for_as_long_as_it_likes(intake, store, clock, monkeypatch):
    monkeypatch.setattr("server.batches.intake.KEEP_S", 0.0)

    async def slowly():
        for piece in (b"on", b"e\n\n", b"", b"two\nthree\nfo", b"ur", b"\n"):
            yield piece
            clock.ahead += 0.7 * STALE_S
            store.keeping.sweep()

    batch = await intake.receive(ADA, "qa", slowly())
    assert batch.total == 4
    bodies = [line.body for part in store.working.claim(9) for line in part.lines]
    assert bodies == [b"one", b"two", b"three", b"four"]


async def test_short_lines_are_kept_a_few_at_a_time(intake, store, monkeypatch):
    monkeypatch.setattr("server.batches.intake.PIECE_LINES", 3)
    kept, add = [], store.receiving.add

    def noted(batch_id, piece):
        kept.append(sum(map(len, piece.parts)) + len(piece.invalid))
        add(batch_id, piece)

    monkeypatch.setattr(store.receiving, "add", noted)

    async def body():
        yield b"yes\nno\n" * 4

    batch = await intake.receive(ADA, "qa", body())
    assert (batch.total, batch.invalid) == (8, 4)
    assert sum(kept) == 8
    assert max(kept) == 3
    numbers = [line.number for part in store.working.claim(9) for line in part.lines]
    assert numbers == [0, 2, 4, 6]


async def test_what_is_broken_off_while_lines_are_kept_leaves_nothing(intake, database, reader):
    async def body():
        yield b"yes\nno\n"

    reader.gate.clear()
    receiving = asyncio.create_task(intake.receive(ADA, "qa", body()))
    assert await asyncio.to_thread(reader.begun.wait, 10)
    receiving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await receiving
    reader.gate.set()
    await asyncio.sleep(0.1)
    assert rows(database) == [0, 0, 0]
