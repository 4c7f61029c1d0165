"""Batches as the API sees them, from start to stop; the database is opened when it is first needed.

A server that never received a batch has no file and no database library in memory.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from server.batches.pace import Pace
from server.batches.records import Batch, BatchCounts, Line, NoSuchBatch, Result, Sender
from server.batches.runner import Answerer, Runner
from server.batches.threads import Threads
from server.errors import EngramError, StoreUnavailable

if TYPE_CHECKING:  # the database takes 30 MB
    from server.batches.database import Database
    from server.batches.intake import Intake
    from server.batches.keeping import Keeping

logger = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often to look whether another process has made the file."""

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
"""After trouble with a database; the wait doubles."""

SWEEP_S = 60.0
"""How often expired batches are removed."""


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """How batches are kept and worked on.

    Attributes:
        file: the SQLite file.
        url: PostgreSQL instead of it.
        body_bytes: most bytes of a batch.
        line_bytes: most bytes of one of its lines.
        free_bytes: bytes of the disk that new batches leave alone.
        most_open: unfinished batches of one key.
        keep_s: how long results are kept after the end.
        lease_s: after how long without a sign of life the work of a process is taken over.
    """

    file: Path
    url: str | None
    body_bytes: int
    line_bytes: int
    free_bytes: int
    most_open: int
    keep_s: float
    lease_s: float


class LineWork(Answerer, Protocol):
    """What reads lines as they come, and answers them later."""

    def check(self, task: str, line: Line) -> Result | None:
        """Return the result of a line that is no request, and nothing for a good one."""
        ...


@dataclass(frozen=True, slots=True)
class Opened:
    """What works with an open database."""

    database: Database
    intake: Intake
    keeping: Keeping
    runner: Runner


class Batches:
    """Receives, shows, cancels and works on batches."""

    def __init__(self, options: BatchOptions, lines: LineWork, pace: Pace, counts: BatchCounts) -> None:
        """Take how batches are kept, what reads and answers lines, how many run at a time, where to count."""
        self._options = options
        self._lines = lines
        self._pace = pace
        self._counts = counts
        self._threads = Threads()
        self._opened: Opened | None = None
        self._opening = asyncio.Lock()
        self._refused: tuple[float, str] | None = None
        self._keeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Go on with what is there already; never raises for a database in trouble."""
        self._keeper = asyncio.create_task(self._keep_house())

    async def stop(self) -> None:
        """Store what is done and hand back the rest."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        async with self._opening:
            opened, self._opened = self._opened, None
        if opened is not None:
            await opened.runner.stop()
            await self._threads(opened.database.close)
        self._threads.close()

    async def receive(self, sender: Sender, task: str, chunks: AsyncIterator[bytes]) -> Batch:
        """Keep a batch; see ``Intake.receive``."""
        opened = await self._open()
        batch = await opened.intake.receive(sender, task, chunks)
        self._counts.batches["accepted"] += 1
        opened.runner.wake()
        return batch

    async def get(self, owner: str, batch_id: str) -> Batch:
        """Return one batch; see ``Keeping.get``."""
        return await self._threads((await self._find()).keeping.get, owner, batch_id)

    async def list(self, owner: str, limit: int, after: str | None) -> Sequence[Batch]:
        """Return batches, the newest first; see ``Keeping.list``."""
        if not self._has_any():
            return []
        return await self._threads((await self._open()).keeping.list, owner, limit, after)

    async def cancel(self, owner: str, batch_id: str) -> Batch:
        """End a batch; see ``Keeping.cancel``."""
        keeping = (await self._find()).keeping
        before = await self._threads(keeping.get, owner, batch_id)
        batch = await self._threads(keeping.cancel, owner, batch_id)
        self._counts.batches["cancelled"] += before.is_open and batch.state == "cancelled"
        return batch

    async def results(self, owner: str, batch_id: str, offset: int) -> Sequence[Line]:
        """Return the next results from a line on; see ``Keeping.results``."""
        return await self._threads((await self._find()).keeping.results, owner, batch_id, offset)

    def _has_any(self) -> bool:
        """Whether there may be batches; without, nothing needs to be opened."""
        return self._opened is not None or self._options.url is not None or self._options.file.exists()

    async def _find(self) -> Opened:
        """Open the database that has a batch; to ask for one makes no file.

        Raises:
            NoSuchBatch: there is no file yet.
            StoreUnavailable: it cannot be opened now.
        """
        if not self._has_any():
            raise NoSuchBatch
        return await self._open()

    async def _open(self) -> Opened:
        """Open the database if it is not open yet.

        Raises:
            StoreUnavailable: it cannot be opened now.
        """
        asked = time.monotonic()
        async with self._opening:
            if self._opened is None:
                if self._refused is not None and self._refused[0] > asked:  # others asked and waited before
                    raise StoreUnavailable(self._refused[1])
                try:
                    database = await self._threads(_open_database, self._options)
                except StoreUnavailable as error:
                    self._refused = time.monotonic(), error.message
                    raise
                self._opened = self._make(database)
                self._opened.runner.start()
            return self._opened

    def _make(self, database: Database) -> Opened:
        from server.batches.intake import Intake, Limits  # noqa: PLC0415 - the database takes 30 MB
        from server.batches.keeping import Keeping  # noqa: PLC0415
        from server.batches.receiving import Receiving  # noqa: PLC0415
        from server.batches.working import Working  # noqa: PLC0415

        options = self._options
        limits = Limits(options.body_bytes, options.line_bytes, options.free_bytes)
        receiving = Receiving(database, options.most_open)
        working = Working(database, options.lease_s, options.keep_s)
        runner = Runner(working, self._threads, self._lines, self._pace, self._counts)
        intake = Intake(database, receiving, self._threads, self._lines, limits)
        return Opened(database, intake, Keeping(database, options.keep_s), runner)

    async def _keep_house(self) -> None:
        """Open the database once there is one, and remove what has expired, again and again."""
        wait_s = FIRST_WAIT_S
        while True:
            if not self._has_any():
                await asyncio.sleep(LOOK_S)
                continue
            try:
                opened = await self._open()
                removed = await self._threads(opened.keeping.sweep)
                if removed:
                    logger.info("%d expired batches are removed", removed)
            except EngramError as error:
                logger.error("batches wait for %g s: %s", wait_s, error.message)  # noqa: TRY400 - told where it was
            except Exception:
                logger.exception("batches wait for %g s", wait_s)
            else:
                wait_s = FIRST_WAIT_S
                await asyncio.sleep(SWEEP_S)
                continue
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)


def _open_database(options: BatchOptions) -> Database:
    from server.batches.database import Database  # noqa: PLC0415 - takes 30 MB

    return Database(options.url or options.file)
