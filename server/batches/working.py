"""The work on batches: parts are leased, their results stored, what is not done handed back.

A part belongs to whoever holds its lease. Each transaction that stores results renews the lease first, which
locks the part's row; a process that has lost its lease stores nothing. So every line gets one result, whoever
is killed, stalled or started when.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update

from server.batches.database import Database, Duplicate, rows_changed, this_process
from server.batches.records import OPEN, Line, Part, PartKey, Settlement, State
from server.batches.tables import BATCHES, PARTS, RESULTS

NOBODY = ""
"""Holder of a part that was handed back; one that was never leased has none at all, and no results."""

_decode_lines = msgspec.msgpack.Decoder(list[Line]).decode


@dataclass(frozen=True, slots=True)
class Settled:
    """What a settlement came to: parts whose lease was lost, and batches that ended with it, and how."""

    lost: frozenset[PartKey]
    ended: tuple[tuple[str, State], ...]


class Working:
    """The database as one process sees it that works."""

    def __init__(self, database: Database, lease_s: float, keep_s: float) -> None:
        """Take the database, how long a part is leased, and how long results are kept after the end."""
        self._database = database
        self._lease_s = lease_s
        self._keep_s = keep_s
        self._me = this_process()

    @property
    def lease_s(self) -> float:
        """How long a part is leased; settle it again before that."""
        return self._lease_s

    def claim(self, most_parts: int, have: Collection[PartKey] = ()) -> list[Part]:
        """Lease parts of the batch that has waited longest for someone to work on it.

        Parts that another process is just leasing are passed over (``FOR UPDATE SKIP LOCKED``); SQLite lets
        one process at a time do this.

        Args:
            most_parts: how many at most.
            have: parts that this process works on already. They are passed over even where their leases
                have run out, as after a stall: they are renewed, unless somebody else is faster.
        """

        def work(connection: Connection, now: float) -> list[Part]:
            ready = (BATCHES.c.state.in_(OPEN), BATCHES.c.not_before <= now)
            waiting = select(BATCHES.c.id, BATCHES.c.task).where(*ready).order_by(BATCHES.c.touched_at)
            for batch_id, task in connection.execute(waiting).all():
                mine = [key.first for key in have if key.batch_id == batch_id]
                if leased := self._lease(connection, (batch_id, task), most_parts, mine, now):
                    begun = {"touched_at": now, "started_at": func.coalesce(BATCHES.c.started_at, now)}
                    own = (BATCHES.c.id == batch_id, BATCHES.c.state.in_(OPEN))
                    connection.execute(update(BATCHES).where(*own).values(**begun, state="running"))
                    return leased
            return []

        return self._database.write(work)

    def settle(self, settlements: Sequence[Settlement]) -> Settled:
        """Store results and renew the leases of their parts; a part that is whole is over.

        The results of a part whose lease was lost are dropped: its new holder stores its own.
        """
        ordered = sorted(settlements, key=lambda each: each.key)  # so that no two processes wait in a circle

        def work(connection: Connection, now: float) -> Settled:
            held = [each for each in ordered if self._renew(connection, each, now)]
            rows = [
                {"batch_id": each.key.batch_id, "number": result.number, "body": result.body}
                for each in held
                for result in each.results
            ]
            if rows:
                connection.execute(insert(RESULTS), rows)
            states = [(name, self._count(connection, name, held, now)) for name in _touched(held)]
            lost = {each.key for each in ordered} - {each.key for each in held}
            ended = tuple((name, state) for name, state in states if state is not None)
            return Settled(frozenset(lost), ended)

        try:
            return self._database.write(work)
        except Duplicate:  # stored already, in a transaction whose success was never told; lease them anew
            return Settled(frozenset(each.key for each in ordered), ())

    def hand_back(self, keys: Iterable[PartKey], delay_s: float = 0.0, reason: str | None = None) -> None:
        """Give up leases, so that anyone may take the parts at once.

        Args:
            keys: the parts.
            delay_s: leave their batches alone for so long.
            reason: why, for their owners.
        """
        ordered = sorted(keys)

        def work(connection: Connection, now: float) -> None:
            for key in ordered:
                free = {"holder": NOBODY, "lease_until": 0.0, "attempts": 0}
                connection.execute(update(PARTS).where(*self._mine(key)).values(**free))
            if delay_s:
                for batch_id in sorted({key.batch_id for key in ordered}):
                    later = {"not_before": now + delay_s, "reason": reason}
                    still_open = (BATCHES.c.id == batch_id, BATCHES.c.state.in_(OPEN))
                    connection.execute(update(BATCHES).where(*still_open).values(**later))

        self._database.write(work)

    def _lease(
        self, connection: Connection, batch: tuple[str, str], most_parts: int, mine: Sequence[int], now: float
    ) -> list[Part]:
        batch_id, task = batch
        free = select(PARTS).where(PARTS.c.batch_id == batch_id, PARTS.c.lease_until <= now)
        if mine:
            free = free.where(PARTS.c.first.not_in(mine))
        free = free.order_by(PARTS.c.first).limit(most_parts).with_for_update(skip_locked=True)
        parts: list[Part] = []
        for row in connection.execute(free).all():
            leased = {"holder": self._me, "lease_until": now + self._lease_s, "attempts": row.attempts + 1}
            same = (PARTS.c.batch_id == batch_id, PARTS.c.first == row.first)
            connection.execute(update(PARTS).where(*same).values(**leased))
            lines = _decode_lines(row.body)
            have: set[int] = set()
            if row.holder is not None:  # who had it before may have stored some of its results
                own = select(RESULTS.c.number).where(RESULTS.c.batch_id == batch_id)
                within = RESULTS.c.number.between(row.first, lines[-1].number)
                have = set(connection.scalars(own.where(within)))
            left = tuple(line for line in lines if line.number not in have)
            parts.append(Part(PartKey(batch_id, row.first), task, left, row.attempts + 1))
        return parts

    def _renew(self, connection: Connection, settlement: Settlement, now: float) -> bool:
        """Renew a lease or, of a part that is whole, end it; say whether it was held at all."""
        mine = self._mine(settlement.key)
        if settlement.is_whole:
            return rows_changed(connection.execute(delete(PARTS).where(*mine))) == 1
        renewed: dict[str, float] = {"lease_until": now + self._lease_s}
        if settlement.results:
            renewed["attempts"] = 0
        return rows_changed(connection.execute(update(PARTS).where(*mine).values(**renewed))) == 1

    def _count(
        self, connection: Connection, batch_id: str, settlements: Iterable[Settlement], now: float
    ) -> State | None:
        """Count the results of a batch; if they are the last, end it, and return the state it ended in."""
        results = [
            result.failed for each in settlements if each.key.batch_id == batch_id for result in each.results
        ]
        tally = Counter(results)
        own = update(BATCHES).where(BATCHES.c.id == batch_id)
        counted = {
            "done": BATCHES.c.done + tally[False],
            "failed": BATCHES.c.failed + tally[True],
            "reason": None,
        }
        columns = (BATCHES.c.done, BATCHES.c.failed, BATCHES.c.total)
        row = connection.execute(own.values(**counted).returning(*columns)).one()
        if row.done + row.failed < row.total:
            return None
        state: State = "done" if row.done else "failed"
        connection.execute(own.values(state=state, ended_at=now, expires_at=now + self._keep_s))
        return state

    def _mine(self, key: PartKey) -> tuple[ColumnElement[bool], ...]:
        return PARTS.c.batch_id == key.batch_id, PARTS.c.first == key.first, PARTS.c.holder == self._me


def _touched(settlements: Iterable[Settlement]) -> list[str]:
    """Return the batches that got results, in order."""
    return sorted({each.key.batch_id for each in settlements if each.results})
