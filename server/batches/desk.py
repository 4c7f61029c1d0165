"""What one process has on its desk: leased parts, lines that wait, and results that are not stored yet.

Plain state with events, for one event loop; ``Runner`` moves it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from server.batches.records import Line, Part, PartKey, Result, Settlement

SETTLE_S, SETTLE_LINES, SETTLE_BYTES = 0.1, 256, 2**20
"""Results wait so long for others, unless there are so many, or of so many bytes."""

FULL = 4
"""So many groups of results may wait for a database in trouble before no more lines begin."""


@dataclass(slots=True, eq=False)
class OpenPart:
    """A part that is worked on.

    Attributes:
        key: which.
        task: what answers its lines.
        left: lines without a result.
        renewed: when its lease was last renewed.
        results: those that are not stored.
        dropped: no result of it counts any more: the lease is lost, or given up.
        why_back: why it is to be handed back.
    """

    key: PartKey
    task: str
    left: int
    renewed: float
    results: list[Result] = field(default_factory=list)
    dropped: bool = False
    why_back: str | None = None


class Job(NamedTuple):
    """A line on the desk, and the part it belongs to."""

    part: OpenPart
    line: Line


class Desk:
    """The lines and results between two visits to the database."""

    def __init__(self, renew_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Take how soon leases must be renewed, and a clock in seconds."""
        self._renew_s = renew_s
        self._clock = clock
        self._waiting: deque[Job] = deque()
        self._parts: dict[PartKey, OpenPart] = {}
        self._lines = self._bytes = 0
        self._work, self._hunger, self._room = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._news, self._enough = asyncio.Event(), asyncio.Event()
        self._hunger.set()
        self._room.set()

    @property
    def parts(self) -> list[PartKey]:
        """Which parts are here."""
        return list(self._parts)

    def open(self, part: Part) -> OpenPart:
        """Put a part on the desk, its lines still in the drawer."""
        opened = OpenPart(part.key, part.task, len(part.lines), self._clock())
        self._parts[part.key] = opened
        return opened

    def queue(self, opened: OpenPart, lines: Sequence[Line]) -> None:
        """Let lines of a part wait for work."""
        self._waiting.extend(Job(opened, line) for line in lines)
        self._work.set()

    async def until_short_of(self, lines: int) -> None:
        """Wait until fewer lines wait than this."""
        while len(self._waiting) >= lines:
            self._hunger.clear()
            await self._hunger.wait()

    async def take(self) -> Job:
        """Return the next line, once there is one, and room for its result."""
        while True:
            await self._room.wait()
            while self._waiting:
                job = self._waiting.popleft()
                self._hunger.set()
                if not job.part.dropped and job.part.why_back is None:
                    return job
            self._work.clear()
            self._enough.set()  # nothing more comes soon: what is there need not wait
            await self._work.wait()

    def finish(self, job: Job, result: Result) -> None:
        """Note the result of a line."""
        part = job.part
        if part.dropped:
            return
        part.results.append(result)
        part.left -= 1
        self._lines += 1
        self._bytes += len(result.body)
        self._news.set()
        if self._lines >= SETTLE_LINES or self._bytes >= SETTLE_BYTES or not self._waiting:
            self._enough.set()
        if self._lines >= FULL * SETTLE_LINES or self._bytes >= FULL * SETTLE_BYTES:
            self._room.clear()

    def give_back(self, part: OpenPart, why: str) -> None:
        """Have a part handed back with the lines that have no result."""
        part.why_back = part.why_back or why
        self._news.set()

    def remind(self) -> None:
        """Have the next visit to the database come soon: the last one failed."""
        self._news.set()

    async def until_due(self) -> None:
        """Wait until it is time to visit the database: for results, for parts to hand back, for a lease."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._renew_s):
                await self._news.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                await self._enough.wait()
        self._news.clear()
        self._enough.clear()

    def settlements(self) -> list[Settlement]:
        """Return what to store, and leases to renew on the way; they stay on the desk until ``settled``."""
        due = self._clock() - self._renew_s / 2
        return [
            Settlement(part.key, tuple(part.results), is_whole=not part.left)
            for part in self._parts.values()
            if part.results or not part.left or part.renewed <= due
        ]

    def settled(self, settlements: Sequence[Settlement], lost: frozenset[PartKey]) -> None:
        """Clear away what is stored, and what another process has taken over."""
        now = self._clock()
        for each in settlements:
            part = self._parts[each.key]
            part.renewed = now
            del part.results[: len(each.results)]
            self._lines -= len(each.results)
            self._bytes -= sum(len(result.body) for result in each.results)
            if each.key in lost or each.is_whole:
                self._drop(part)
        if self._lines < FULL * SETTLE_LINES and self._bytes < FULL * SETTLE_BYTES:
            self._room.set()

    def given_back(self) -> list[tuple[str, list[PartKey]]]:
        """Return the parts to hand back, by the reason; they leave the desk now."""
        parts = [part for part in self._parts.values() if part.why_back is not None and not part.results]
        for part in parts:
            self._drop(part)
        reasons = sorted((str(part.why_back), part.key) for part in parts)
        return [(why, [key for _, key in some]) for why, some in groupby(reasons, key=lambda each: each[0])]

    def clear(self) -> list[PartKey]:
        """Drop every part and return which they were."""
        parts = list(self._parts.values())
        for part in parts:
            self._drop(part)
        self._waiting.clear()
        return [part.key for part in parts]

    def _drop(self, part: OpenPart) -> None:
        self._lines -= len(part.results)
        self._bytes -= sum(len(result.body) for result in part.results)
        part.results.clear()
        part.dropped = True
        self._parts.pop(part.key, None)
