"""Batches as their owners see them: how far they are, their results, their end and their removal."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, or_, select, tuple_, update

from server.batches.database import Database, rows_changed
from server.batches.records import OPEN, Batch, Line, NoSuchBatch
from server.batches.tables import BATCHES, PARTS, RECEIVING, RESULTS

PAGE_LINES, PAGE_BYTES = 512, 2**20
"""Results that are read at once: as many lines, or as many bytes and the line that goes beyond."""

FETCH = 32
"""Rows that PostgreSQL sends at once while a page is read."""

STALE_S = 3600.0
"""A batch whose lines stopped coming so long ago belongs to nobody: its server was killed meanwhile."""

SWEEP_LINES = 5_000
"""Results that are removed in one transaction, so that nobody waits long for it."""


class Keeping:
    """The database as the owner of a batch sees it: one who asks for another's is told there is none."""

    def __init__(self, database: Database, keep_s: float) -> None:
        """Take the database, and how long results are kept."""
        self._database = database
        self._keep_s = keep_s

    def get(self, owner: str, batch_id: str) -> Batch:
        """Return one batch.

        Raises:
            NoSuchBatch: there is none.
        """
        return self._database.read(lambda connection, now: read_batch(connection, owner, batch_id, now))

    def list(self, owner: str, limit: int, after: str | None = None) -> Sequence[Batch]:
        """Return batches, the newest first.

        Args:
            owner: whose.
            limit: how many at most.
            after: the id of the last one seen, to go on behind it.

        Raises:
            NoSuchBatch: there is none to go on behind.
        """

        def work(connection: Connection, now: float) -> Sequence[Batch]:
            wanted = select(BATCHES).where(BATCHES.c.owner == owner, *_is_there(now))
            if after is not None:
                last = read_batch(connection, owner, after, now)
                wanted = wanted.where(tuple_(BATCHES.c.created_at, BATCHES.c.id) < (last.created_at, last.id))
            newest = wanted.order_by(BATCHES.c.created_at.desc(), BATCHES.c.id.desc()).limit(limit)
            return [_batch(row, now) for row in connection.execute(newest)]

        return self._database.read(work)

    def results(self, owner: str, batch_id: str, offset: int) -> Sequence[Line]:
        """Return the next results from a line on, in the order of the lines.

        Of an open batch these end before the first line that has none yet; of one that has ended, lines
        without a result are passed over: they were cancelled. None means that there are no more for now.

        Raises:
            NoSuchBatch: there is none.
        """

        def work(connection: Connection, now: float) -> Sequence[Line]:
            batch = read_batch(connection, owner, batch_id, now)
            wanted = select(RESULTS.c.number, RESULTS.c.body)
            wanted = wanted.where(RESULTS.c.batch_id == batch_id, RESULTS.c.number >= offset)
            rows = connection.execute(
                wanted.order_by(RESULTS.c.number).limit(PAGE_LINES), execution_options={"yield_per": FETCH}
            )
            page: list[Line] = []
            size = 0
            for number, body in rows:
                if size >= PAGE_BYTES or (batch.is_open and number != offset + len(page)):
                    break
                page.append(Line(number, bytes(body)))
                size += len(body)
            rows.close()
            return page

        return self._database.read(work)

    def cancel(self, owner: str, batch_id: str) -> Batch:
        """End a batch; what has a result keeps it. One that has ended stays as it is.

        Raises:
            NoSuchBatch: there is none.
        """

        def work(connection: Connection, now: float) -> Batch:
            if read_batch(connection, owner, batch_id, now).is_open:
                # Parts before batches, as everybody does: whoever works on them holds locks in this order.
                connection.execute(delete(PARTS).where(PARTS.c.batch_id == batch_id))
                ended = {
                    "state": "cancelled",
                    "reason": None,
                    "ended_at": now,
                    "expires_at": now + self._keep_s,
                }
                still_open = (BATCHES.c.id == batch_id, BATCHES.c.state.in_(OPEN))
                connection.execute(update(BATCHES).where(*still_open).values(**ended))
            return read_batch(connection, owner, batch_id, now)

        return self._database.write(work)

    def sweep(self) -> int:
        """Remove what has expired, and what never came whole; return how many batches."""
        removed = 0
        for batch_id in self._database.read(_expired):
            while self._database.write(partial(_remove_some, batch_id)):
                pass
            removed += 1
        while self._database.give_back_room():  # in steps too
            pass
        return removed


def read_batch(connection: Connection, owner: str, batch_id: str, now: float) -> Batch:
    """Return a batch of this owner that came whole and has not expired.

    Raises:
        NoSuchBatch: there is none.
    """
    mine = (BATCHES.c.id == batch_id, BATCHES.c.owner == owner)
    row = connection.execute(select(BATCHES).where(*mine, *_is_there(now))).first()
    if row is None:
        raise NoSuchBatch
    return _batch(row, now)


def _is_there(now: float) -> tuple[ColumnElement[bool], ...]:
    """Say which batches came whole and have not expired: of others some may be gone already."""
    return BATCHES.c.state != RECEIVING, or_(BATCHES.c.expires_at.is_(None), BATCHES.c.expires_at >= now)


def _batch(row: Row[Any], now: float) -> Batch:
    names = ("id", "task", "state", "total", "done", "failed", "invalid", "reason")
    moments = ("created_at", "started_at", "ended_at", "expires_at")
    return Batch(**{name: getattr(row, name) for name in (*names, *moments)}, eta_s=_eta_s(row, now))


def _eta_s(row: Row[Any], now: float) -> float | None:
    """Return the time left at the rate since work began."""
    worked = row.done + row.failed - row.invalid
    if row.state != "running" or row.started_at is None or not worked:
        return None
    left = row.total - row.done - row.failed
    return max(0.0, float(left * (now - row.started_at) / worked))


def _expired(connection: Connection, now: float) -> list[str]:
    over = select(BATCHES.c.id).where(BATCHES.c.expires_at < now)
    stale = select(BATCHES.c.id).where(BATCHES.c.state == RECEIVING, BATCHES.c.touched_at < now - STALE_S)
    return [*connection.scalars(over), *connection.scalars(stale)]


def _remove_some(batch_id: str, connection: Connection, _: float) -> bool:
    """Remove some of a batch, and say whether there may be more; the batch itself goes last."""
    own = select(RESULTS.c.number).where(RESULTS.c.batch_id == batch_id)
    some = connection.scalars(own.order_by(RESULTS.c.number).limit(SWEEP_LINES)).all()
    if some:
        up_to = (RESULTS.c.batch_id == batch_id, RESULTS.c.number <= some[-1])
        return rows_changed(connection.execute(delete(RESULTS).where(*up_to))) > 0
    connection.execute(delete(PARTS).where(PARTS.c.batch_id == batch_id))
    connection.execute(delete(BATCHES).where(BATCHES.c.id == batch_id))
    return False
