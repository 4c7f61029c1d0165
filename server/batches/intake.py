"""A body of lines on its way into the database, in bounded memory: bytes in, parts out."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from server.batches.database import Database
from server.batches.receiving import Piece, Receiving
from server.batches.records import Batch, Line, Result, Sender
from server.batches.threads import Threads
from server.errors import InvalidRequest, StorageFull, StoreUnavailable

PART_LINES, PART_BYTES = 32, 256 * 2**10
"""A part ends with so many lines, or with the line that brings it to so many bytes."""

PIECE_BYTES, PIECE_LINES = 2**20, 4096
"""Bytes that are read before they are kept together, and how many lines at a time: the shortest have results
many times their size."""

KEEP_S = 60.0
"""How long lines wait for others before they are kept; it also shows that somebody still sends."""

EXAMPLES = 10
"""So many invalid lines are named when all are."""


class Reader(Protocol):
    """What tells lines that are requests from those that are not."""

    def check(self, task: str, line: Line) -> Result | None:
        """Return the result of a line that is no request, and nothing for a good one."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What a batch may take: bytes of the whole and of a line, and bytes of the disk that must stay free."""

    body_bytes: int
    line_bytes: int
    free_bytes: int


@dataclass(slots=True)
class Count:
    """What has come so far."""

    total: int = 0
    examples: list[str] = field(default_factory=list)
    invalid: int = 0


class Intake:
    """Receives one batch."""

    def __init__(
        self, database: Database, receiving: Receiving, threads: Threads, reader: Reader, limits: Limits
    ) -> None:
        """Take where lines go, what checks them, and how many there may be."""
        self._database = database
        self._threads = threads
        self._receiving = receiving
        self._reader = reader
        self._limits = limits

    async def receive(self, sender: Sender, task: str, chunks: AsyncIterator[bytes]) -> Batch:
        """Keep every line of a body; if anything fails, nothing of it stays.

        Raises:
            InvalidRequest: there are no lines, none of them is a request, or the Idempotency-Key belongs to
                another batch.
            StorageFull: the disk is full, or would be soon.
        """
        self._require_room()
        batch_id = await self._threads(self._receiving.begin, sender, task)
        try:
            return await self._receive(batch_id, sender, task, chunks)
        except BaseException:
            with suppress(StoreUnavailable):  # a batch that never came whole is swept away later
                await asyncio.shield(self._threads(self._receiving.discard, batch_id))
            raise

    async def _receive(self, batch_id: str, sender: Sender, task: str, chunks: AsyncIterator[bytes]) -> Batch:
        count, digest, rest = Count(), hashlib.sha256(task.encode()), b""
        waiting: list[bytes] = []
        size, kept = 0, time.monotonic()
        async for chunk in chunks:
            digest.update(chunk)
            *lines, rest = (rest + chunk).split(b"\n") if b"\n" in chunk else (rest + chunk,)
            if len(rest) > self._limits.line_bytes:
                rest = rest[: self._limits.line_bytes + 1]  # enough to see that it is too long
            waiting += lines
            size += len(chunk)
            if size >= PIECE_BYTES or time.monotonic() - kept >= KEEP_S:
                self._require_room()
                await self._threads(self._keep, batch_id, task, waiting, count)
                waiting, size, kept = [], 0, time.monotonic()
        await self._threads(self._keep, batch_id, task, [*waiting, rest], count)
        if count.invalid == count.total:
            raise _no_requests(count)
        finish = self._receiving.finish
        return await self._threads(finish, batch_id, sender, count.total, count.invalid, digest.hexdigest())

    def _keep(self, batch_id: str, task: str, lines: list[bytes], count: Count) -> None:
        """Check lines and keep them; blank ones do not count."""
        for start in range(0, max(1, len(lines)), PIECE_LINES):
            self._receiving.add(batch_id, self._piece(task, lines[start : start + PIECE_LINES], count))

    def _piece(self, task: str, lines: list[bytes], count: Count) -> Piece:
        parts: list[list[Line]] = []
        invalid: list[Result] = []
        size = PART_BYTES
        for body in lines:
            if not (body := body.strip()):
                continue
            line = Line(count.total, body)
            count.total += 1
            result = self._reader.check(task, line)
            if result is not None:
                invalid.append(result)
                if len(count.examples) < EXAMPLES:
                    count.examples.append(result.body.decode())
                continue
            if size >= PART_BYTES or len(parts[-1]) >= PART_LINES:
                parts.append([])
                size = 0
            parts[-1].append(line)
            size += len(body)
        count.invalid += len(invalid)
        return Piece(parts, invalid)

    def _require_room(self) -> None:
        free = self._database.free_bytes()
        if free is not None and free < self._limits.free_bytes:
            raise StorageFull(
                f"the disk that keeps batches has {free} bytes left, and {self._limits.free_bytes} of them "
                "are for batches that were accepted (ENGRAM_BATCH_FREE_BYTES)"
            )


def _no_requests(count: Count) -> InvalidRequest:
    if not count.total:
        return InvalidRequest("the body has no lines, expected a request on each", fields=["body"])
    return InvalidRequest(
        f"none of the {count.total} lines is a request", fields=["body"], lines=count.examples
    )
