"""A database of batches in a file, its three sides, and lines for it."""

from types import SimpleNamespace

import pytest

from server.batches.database import Database
from server.batches.keeping import Keeping
from server.batches.receiving import Piece, Receiving
from server.batches.records import Line, Result, Sender, Settlement
from server.batches.working import Working

LEASE_S, KEEP_S = 10.0, 3600.0
ADA = Sender("ada")


class Store:
    """Every side of one database; a second process has a ``working`` of its own."""

    def __init__(self, database):
        self.database = database
        self.receiving = Receiving(database, most_open=3)
        self.keeping = Keeping(database, KEEP_S)
        self.working = self.process()

    def process(self, lease_s=LEASE_S):
        return Working(self.database, lease_s, KEEP_S)

    def submit(self, lines=6, part=2, sender=ADA, invalid=(), digest="d"):
        """Receive a batch whose lines are ``line 0``, ``line 1`` and so on, some of them invalid."""
        batch_id = self.receiving.begin(sender, "qa")
        good = [Line(number, b"line %d" % number) for number in range(lines) if number not in invalid]
        parts = [good[start : start + part] for start in range(0, len(good), part)]
        self.receiving.add(batch_id, Piece(parts, [answered(number, failed=True) for number in invalid]))
        return self.receiving.finish(batch_id, sender, lines, len(invalid), digest)

    def finish(self, part, working=None, lines=None):
        """Settle a part, or some of its lines."""
        lines = part.lines if lines is None else lines
        results = tuple(answered(line.number) for line in lines)
        whole = len(lines) == len(part.lines)
        return (working or self.working).settle([Settlement(part.key, results, is_whole=whole)])

    def results(self, batch, owner="ada", offset=0):
        return [line.number for line in self.keeping.results(owner, batch.id, offset)]


def answered(number, failed=False):
    return Result(number, b'{"index": %d}' % number, failed)


@pytest.fixture
def database(tmp_path):
    database = Database(tmp_path / "batches.sqlite3")
    yield database
    database.close()


@pytest.fixture
def store(database):
    return Store(database)


@pytest.fixture
def clock(monkeypatch):
    """The database's clock, moved by hand: ``clock.ahead`` is in seconds."""
    from server.batches import database

    moved = SimpleNamespace(ahead=0.0)
    real = database.time.time
    monkeypatch.setattr(database, "time", SimpleNamespace(time=lambda: real() + moved.ahead))
    return moved
