"""Batches on their way in: parts as they come, and at last the batch itself, which nobody sees before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, update

from server.batches.database import Database, rows_changed
from server.batches.keeping import read_batch
from server.batches.records import OPEN, Batch, Line, Result, Sender
from server.batches.tables import BATCHES, PARTS, RECEIVING, RESULTS
from server.errors import InvalidRequest, Overloaded, StoreUnavailable

encode_lines = msgspec.msgpack.Encoder().encode
"""How the lines of a part are written; ``server.batches.working`` reads them."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Lines that came together: parts of good ones, and the results of those that are no requests."""

    parts: Sequence[Sequence[Line]]
    invalid: Sequence[Result]


class Receiving:
    """The database as those see it who bring lines."""

    def __init__(self, database: Database, most_open: int) -> None:
        """Take the database, and how many unfinished batches one key may have."""
        self._database = database
        self._most_open = most_open

    def begin(self, sender: Sender, task: str) -> str:
        """Begin a batch and return its id.

        Raises:
            Overloaded: this key has too many unfinished ones.
        """

        def work(connection: Connection, now: float) -> str:
            unfinished = select(func.count()).where(
                BATCHES.c.owner == sender.owner, BATCHES.c.state.in_(OPEN)
            )
            if not self._is_repeat(connection, sender) and (
                connection.execute(unfinished).scalar_one() >= self._most_open
            ):
                raise Overloaded(
                    f"{self._most_open} batches of this key are not finished (ENGRAM_BATCH_MAX_OPEN)", 60.0
                )
            name = uuid4().hex
            new = {"id": name, "owner": sender.owner, "task": task, "state": RECEIVING}
            connection.execute(insert(BATCHES).values(**new, created_at=now, touched_at=now))
            return name

        return self._database.write(work)

    def add(self, batch_id: str, piece: Piece) -> None:
        """Keep some lines, if only to say that more will come.

        Raises:
            StoreUnavailable: the batch was discarded meanwhile.
        """
        parts = [
            {"batch_id": batch_id, "first": lines[0].number, "count": len(lines), "body": encode_lines(lines)}
            for lines in piece.parts
        ]
        results = [{"batch_id": batch_id, "number": each.number, "body": each.body} for each in piece.invalid]

        def work(connection: Connection, now: float) -> None:
            touch = update(BATCHES).where(BATCHES.c.id == batch_id).values(touched_at=now)
            if not rows_changed(connection.execute(touch)):
                raise StoreUnavailable("the batch was discarded before it came whole")
            if parts:
                connection.execute(insert(PARTS), parts)
            if results:
                connection.execute(insert(RESULTS), results)

        self._database.write(work)

    def finish(self, batch_id: str, sender: Sender, total: int, invalid: int, digest: str) -> Batch:
        """Open the batch for work; a repeat is thrown away, and the batch it repeats returned.

        Args:
            batch_id: what ``begin`` returned.
            sender: as it was then.
            total: how many lines came.
            invalid: how many of them have their result already.
            digest: of the body; a repeat must have the same.

        Raises:
            InvalidRequest: the same Idempotency-Key came with another body or for another task.
        """

        def work(connection: Connection, now: float) -> Batch:
            same = (BATCHES.c.owner == sender.owner, BATCHES.c.idempotency_key == sender.idempotency_key)
            if sender.idempotency_key is not None:
                if self._database.is_postgresql:  # where two repeats may come at the same time
                    turn = func.hashtextextended(f"{sender.owner} {sender.idempotency_key}", 0)
                    connection.execute(select(func.pg_advisory_xact_lock(turn)))
                expired = update(BATCHES).where(*same, BATCHES.c.expires_at < now)
                connection.execute(expired.values(idempotency_key=None))
            first = connection.execute(select(BATCHES.c.id, BATCHES.c.digest).where(*same)).first()
            if sender.idempotency_key is not None and first is not None:
                if first.digest != digest:
                    raise _Reused
                _remove(connection, batch_id)
                return read_batch(connection, sender.owner, first.id, now)
            opened = {"state": "queued", "total": total, "invalid": invalid, "failed": invalid}
            opened |= {"idempotency_key": sender.idempotency_key, "digest": digest, "touched_at": now}
            connection.execute(update(BATCHES).where(BATCHES.c.id == batch_id).values(**opened))
            return read_batch(connection, sender.owner, batch_id, now)

        try:
            return self._database.write(work)
        except _Reused:
            self.discard(batch_id)
            raise InvalidRequest(
                "the Idempotency-Key was used for another batch", fields=["Idempotency-Key"]
            ) from None

    def discard(self, batch_id: str) -> None:
        """Forget a batch that did not come whole."""
        self._database.write(lambda connection, now: _remove(connection, batch_id))

    def _is_repeat(self, connection: Connection, sender: Sender) -> bool:
        if sender.idempotency_key is None:
            return False
        same = (BATCHES.c.owner == sender.owner, BATCHES.c.idempotency_key == sender.idempotency_key)
        return connection.execute(select(BATCHES.c.id).where(*same)).first() is not None


def _remove(connection: Connection, batch_id: str) -> None:
    # The batch first: whoever still adds to it has finished, or finds that it is gone.
    for table, column in ((BATCHES, BATCHES.c.id), (PARTS, PARTS.c.batch_id), (RESULTS, RESULTS.c.batch_id)):
        connection.execute(delete(table).where(column == batch_id))


class _Reused(Exception):
    """The key of a repeat belongs to another body."""
