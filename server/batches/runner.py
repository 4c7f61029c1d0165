"""Works on batches: leases parts, has their lines answered, a few at a time, and stores what comes of them.

Three tasks on the event loop share a ``Desk``: one leases parts, one begins lines, one stores results in
groups, because a transaction costs more than a line. Whatever the database does, no more than a few parts and
a few groups of results are in memory.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, Any, Protocol

from server.batches.desk import Desk, Job, OpenPart
from server.batches.pace import Pace
from server.batches.records import BatchCounts, Line, Part, Result
from server.batches.threads import Threads
from server.errors import ExecutorLost, ModelNotReady, Overloaded, ShuttingDown, StoreUnavailable

if TYPE_CHECKING:  # the database takes 30 MB
    from server.batches.working import Working

logger = logging.getLogger(__name__)

IDLE_S = 1.0
"""How often to look for work that another process received, or left behind."""

MOST_PARTS, SHORT_S, LONG_S = 8, 0.1, 0.5
"""Parts that are leased at once: more when the last ones were done so soon, fewer when they took so long."""

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 15.0
"""After trouble with the database; the wait doubles."""

LAST_WAIT_S = 2.0
"""How long lines that run may take to end when the server stops."""

NOT_READY_S = 5.0
"""How long a batch is left alone whose model cannot answer, and the longest wait for a full queue."""

LOST_EXECUTORS = 3
"""A line that lost so many executors is answered with an error."""

ALONE_AFTER, GIVE_UP_AFTER = 3, 5
"""A part that was leased so often without a result is worked on line by line, and at last without its first:
something in it ends whatever works on it."""


class Answerer(Protocol):
    """What reads and answers lines."""

    async def answer(self, task: str, line: Line) -> Result:
        """Answer a line; what is wrong with it becomes its result.

        Raises:
            ExecutorLost, ModelNotReady, Overloaded, ShuttingDown: it may be answered later.
        """
        ...

    def give_up(self, line: Line, why: str) -> Result:
        """Return the result of a line that is not tried again."""
        ...


class Runner:
    """Works until it is stopped. Construct and use it on the event loop."""

    def __init__(
        self,
        working: Working,
        threads: Threads,
        answerer: Answerer,
        pace: Pace,
        counts: BatchCounts,
    ) -> None:
        """Take what it works with.

        Args:
            working: the database.
            threads: where it is spoken to.
            answerer: what answers lines.
            pace: how many lines may run at the same time.
            counts: where it counts.
        """
        self._working = working
        self._threads = threads
        self._answerer = answerer
        self._pace = pace
        self._counts = counts
        self._desk = Desk(working.lease_s / 3)
        self._awake = asyncio.Event()
        self._takers: list[asyncio.Task[None]] = []
        self._settler: list[asyncio.Task[None]] = []
        self._running: set[asyncio.Task[None]] = set()
        self._claiming, self._settling = asyncio.Lock(), asyncio.Lock()
        self._parts_at_once = 1

    def start(self) -> None:
        """Begin to work, on nobody's behalf: whatever request is being answered here is not the reason."""
        own = Context()
        takers = (_again(self._feed), self._begin_lines())
        self._takers = [asyncio.create_task(taker, context=own.copy()) for taker in takers]
        self._settler = [asyncio.create_task(_again(self._settle_when_due), context=own)]

    def wake(self) -> None:
        """Look for work now."""
        self._awake.set()

    async def stop(self) -> None:
        """End: lines that run may finish, what has a result is stored, all else is handed back."""
        async with self._claiming, self._settling:  # nobody is in the middle of a transaction
            await _cancel(self._takers)
        if self._running:
            await asyncio.wait(self._running, timeout=LAST_WAIT_S)
        await _cancel(self._running)
        async with self._settling:
            await _cancel(self._settler)
        with suppress(StoreUnavailable):  # the leases run out
            await self._settle()
            if keys := self._desk.clear():
                await self._threads(self._working.hand_back, keys)

    async def _feed(self) -> None:
        """Lease parts when fewer lines wait than may run."""
        loop = asyncio.get_running_loop()
        asked = loop.time()
        await self._desk.until_short_of(self._pace.most)
        if (took := loop.time() - asked) > LONG_S:
            self._parts_at_once = max(1, self._parts_at_once // 2)
        elif took < SHORT_S:
            self._parts_at_once = min(MOST_PARTS, 2 * self._parts_at_once)
        self._awake.clear()
        async with self._claiming:
            parts = await self._threads(self._working.claim, self._parts_at_once, self._desk.parts)
            opened = [(self._desk.open(part), part) for part in parts]
        for own, part in opened:
            if part.attempts <= ALONE_AFTER:
                self._desk.queue(own, part.lines)
        for own, part in opened:
            if part.attempts > ALONE_AFTER:
                await self._work_alone(own, part)
        if not parts:
            with suppress(TimeoutError):
                async with asyncio.timeout(IDLE_S):
                    await self._awake.wait()

    async def _begin_lines(self) -> None:
        """Begin lines as soon as the pace allows."""
        while True:
            job = await self._desk.take()
            await self._pace.enter()
            task = asyncio.create_task(self._work(job))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _work(self, job: Job) -> None:
        try:
            result = await self._result_of(job)
        finally:
            self._pace.leave()
        if result is not None:
            self._finish(job, result)

    async def _work_alone(self, opened: OpenPart, part: Part) -> None:
        """Work on one line after the other, each stored before the next begins."""
        logger.warning(
            "a part of batch %s was leased %d times: it goes line by line", *part.key, part.attempts
        )
        try:
            for line in part.lines:
                job = Job(opened, line)
                if part.attempts > GIVE_UP_AFTER and line is part.lines[0]:
                    why = "every process that worked on this line ended"
                    result: Result | None = self._answerer.give_up(line, why)
                else:
                    result = await self._result_of(job)
                if result is None:
                    return
                self._finish(job, result)
                await self._settle()
        except BaseException:
            self._desk.give_back(opened, "")
            raise

    async def _result_of(self, job: Job) -> Result | None:
        """Answer a line, again if need be; ``None`` if its part is handed back or lost."""
        lost_executors = 0
        part, line = job
        while not part.dropped and part.why_back is None:
            try:
                return await self._answerer.answer(part.task, line)
            except Overloaded as error:
                await asyncio.sleep(min(max(error.retry_after_s, 0.02), NOT_READY_S))
            except ExecutorLost as error:
                lost_executors += 1
                if lost_executors == LOST_EXECUTORS:
                    return self._answerer.give_up(line, error.message)
            except ModelNotReady as error:
                self._desk.give_back(part, error.message)
            except ShuttingDown:
                self._desk.give_back(part, "")
        return None

    def _finish(self, job: Job, result: Result) -> None:
        self._counts.lines["failed" if result.failed else "done"] += 1
        self._desk.finish(job, result)

    async def _settle_when_due(self) -> None:
        await self._desk.until_due()
        try:
            await self._settle()
        except Exception:
            self._desk.remind()
            raise

    async def _settle(self) -> None:
        """Store results, renew leases, hand back what cannot be done now."""
        async with self._settling:
            if settlements := self._desk.settlements():
                settled = await self._threads(self._working.settle, settlements)
                self._desk.settled(settlements, settled.lost)
                for batch_id, state in settled.ended:
                    self._counts.batches[state] += 1
                    logger.info("batch %s is %s", batch_id, state)
            for reason, keys in self._desk.given_back():
                await self._threads(
                    self._working.hand_back, keys, NOT_READY_S if reason else 0.0, reason or None
                )


async def _again(visit: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Visit the database for ever; in trouble wait, and try again."""
    wait_s = FIRST_WAIT_S
    while True:
        try:
            await visit()
            wait_s = FIRST_WAIT_S
            continue
        except StoreUnavailable as error:
            logger.error("batches wait for %g s: %s", wait_s, error.message)  # noqa: TRY400 - told where it was
            await asyncio.sleep(wait_s)
        except Exception:
            logger.exception("batches wait for %g s", wait_s)
            await asyncio.sleep(wait_s)
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)


async def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
