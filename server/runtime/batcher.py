"""The queue of one model: joins requests that wait at the same time and hands them to executor threads.

Everything but the runs happens on the event loop, so nothing here needs a lock. There is no waiting window:
a batch is what waits at the moment an executor is free.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from math import prod

from server.contract.manifest import Signature
from server.contract.tensors import Arrays, sizes_of
from server.errors import (
    DeadlineExceeded,
    EngramError,
    ExecutorLost,
    InvalidRequest,
    Overloaded,
    ShuttingDown,
)
from server.runtime.batching import ServiceRate, choose
from server.runtime.executor import Entry, Executor, Outcome, Run
from server.runtime.options import RuntimeOptions
from server.runtime.session import Session
from server.runtime.statistics import Statistics

logger = logging.getLogger(__name__)

MIN_COST = 64
"""Cells that the smallest request counts for in the queue: its run and its memory have a price too."""

FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 30.0
"""How long to wait before trying again to replace a lost executor; the wait doubles."""


class Batcher:
    """The queue of one model and its executors. Construct it on the event loop; it owns the sessions.

    An executor that is lost is replaced by one with a session from ``renew``, which is called on a thread
    until it gives one; requests wait meanwhile.
    """

    def __init__(
        self,
        sessions: Sequence[Session],
        signature: Signature,
        options: RuntimeOptions,
        clock: Callable[[], float] = time.monotonic,
        *,
        statistics: Statistics | None = None,
        renew: Callable[[], Session] | None = None,
    ) -> None:
        self._statistics = statistics or Statistics()
        self._loop = asyncio.get_running_loop()
        self._signature = signature
        self._options = options
        self._clock = clock
        self._largest = max(signature.inputs, key=lambda spec: len(spec.dims)).name
        self._executors = [self._executor(session) for session in sessions]
        self._idle = list(self._executors)
        self._renew = renew
        self._renewals: set[asyncio.Task[None]] = set()
        self._waiting: OrderedDict[int, Entry] = OrderedDict()
        self._waiting_cost = 0
        self._rate = ServiceRate()
        self._dispatching = False
        self._refusing = False
        self._closed = False
        self._quiet = asyncio.Event()
        self._quiet.set()

    async def run(self, arrays: Arrays, outputs: Sequence[str], deadline: float | None) -> Run:
        """Run one request's arrays, together with others that fit.

        Args:
            arrays: named inputs without the batch axis.
            outputs: the graph outputs wanted.
            deadline: in seconds on the batcher's clock (``time.monotonic``); ``None`` sets none.

        Raises:
            DeadlineExceeded: at the deadline, whatever the executors do.
            InvalidRequest: the arrays do not fit the signature.
            Overloaded: the queue is full.
            RunError: the graph failed on this request.
            ShuttingDown: the batcher drains or is closed.
        """
        entry = self._admit(arrays, outputs, deadline)
        try:
            return await entry.future
        finally:
            if entry.timer is not None:
                entry.timer.cancel()
            self._withdraw(entry)

    @property
    def waiting(self) -> int:
        """How many requests wait for an executor."""
        return len(self._waiting)

    @property
    def waiting_cost(self) -> int:
        """How many cells wait; ``max_queue_cost`` bounds them."""
        return self._waiting_cost

    @property
    def executors(self) -> int:
        """How many executors live."""
        return len(self._executors)

    async def drain(self) -> None:
        """Refuse new requests and wait until the accepted ones are answered."""
        self._refusing = True
        await self._quiet.wait()

    async def close(self) -> None:
        """Refuse new and waiting requests, let running ones finish, end the threads, close the sessions."""
        self._refusing = self._closed = True
        for entry in list(self._waiting.values()):
            self._refuse(entry, ShuttingDown("the server is shutting down"))
        for renewal in self._renewals:
            renewal.cancel()
        for executor in self._executors:
            executor.stop()
        for executor in self._executors:
            await asyncio.to_thread(executor.join)

    def _admit(self, arrays: Arrays, outputs: Sequence[str], deadline: float | None) -> Entry:
        if self._refusing:
            raise ShuttingDown("the server is shutting down")
        try:
            sizes = sizes_of(self._signature.inputs, arrays)
        except ValueError as error:
            raise InvalidRequest(str(error)) from error
        shape = arrays[self._largest].shape
        cells = prod(shape)
        cost = max(MIN_COST, cells)
        self._check_room(cost)
        now = self._clock()
        entry = Entry(arrays, outputs, sizes, shape, cells, cost, now, deadline, self._loop.create_future())
        if deadline is not None:
            if deadline <= now:
                raise _too_late(entry, now)
            entry.timer = self._loop.call_later(deadline - now, self._expire, entry)
        self._waiting[id(entry)] = entry
        self._waiting_cost += cost
        self._quiet.clear()
        if self._idle and not self._dispatching:
            # Once round the loop, so that requests which arrived together are joined.
            self._dispatching = True
            self._loop.call_soon(self._dispatch)
        return entry

    def _check_room(self, cost: int) -> None:
        limit = self._options.max_queue_cost
        if self._waiting and self._waiting_cost + cost > limit:
            retry_after_s = self._rate.seconds_for(self._waiting_cost) / max(1, len(self._executors))
            raise Overloaded(
                f"{len(self._waiting)} requests of {self._waiting_cost} cells wait for this model, "
                f"it queues {limit} cells (ENGRAM_MAX_QUEUE_COST)",
                retry_after_s,
                waiting=len(self._waiting),
                queue_cost=self._waiting_cost,
                limit=limit,
            )

    def _dispatch(self) -> None:
        """Give every idle executor a batch, as long as requests wait."""
        self._dispatching = False
        options = self._options
        while self._idle and self._waiting:
            executor = self._idle.pop()
            batch = choose(self._waiting.values(), options.max_batch_size, options.max_batch_cost)
            if live := self._take(batch):
                executor.submit(live)
            else:
                self._idle.append(executor)
        self._note_quiet()

    def _take(self, batch: list[Entry]) -> list[Entry]:
        """Take a batch out of the queue and return those of it that can still be answered in time."""
        now = self._clock()
        for entry in batch:
            if entry.deadline is not None and entry.deadline <= now:
                self._expire(entry)
            self._withdraw(entry)
        return [entry for entry in batch if not entry.future.done()]

    def _done(self, executor: Executor, batch: list[Entry], outcomes: list[Outcome], seconds: float) -> None:
        """Take the outcomes of a batch; the executor gets its next one first, so that it never idles."""
        self._rate.observe(sum(entry.cost for entry in batch), seconds)
        self._statistics.executed(outcomes, self._options.max_batch_cost)
        self._idle.append(executor)
        self._dispatch()
        for entry, outcome in zip(batch, outcomes, strict=True):
            if entry.future.done() or outcome is None:
                continue
            if isinstance(outcome, Run):
                entry.future.set_result(outcome)
            else:
                entry.future.set_exception(outcome)

    def _lost(self, executor: Executor, batch: list[Entry], why: str) -> None:
        """Answer the batch of a lost executor and put another in its place."""
        logger.error("an executor is lost: %s", why)
        self._executors.remove(executor)
        if executor in self._idle:
            self._idle.remove(executor)
        for entry in batch:
            self._refuse(entry, ExecutorLost("the executor of this request was lost; ask again"))
        if self._renew is not None and not self._closed:
            renewal = self._loop.create_task(self._replace(self._renew))
            self._renewals.add(renewal)
            renewal.add_done_callback(self._renewals.discard)
        self._note_quiet()

    async def _replace(self, renew: Callable[[], Session]) -> None:
        wait_s = FIRST_RETRY_S
        while True:
            try:
                executor = self._executor(await asyncio.to_thread(renew))
                break
            except Exception:
                logger.exception("no new executor, trying again in %g s", wait_s)
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, LONGEST_RETRY_S)
        logger.info("a new executor takes the place of the lost one")
        self._executors.append(executor)
        self._idle.append(executor)
        self._dispatch()

    def _executor(self, session: Session) -> Executor:
        return Executor(
            session,
            self._signature,
            self._loop,
            done=self._done,
            lost=self._lost,
            stall_s=self._options.executor_stall_s,
            clock=self._clock,
        )

    def _expire(self, entry: Entry) -> None:
        self._refuse(entry, _too_late(entry, self._clock()))

    def _refuse(self, entry: Entry, error: EngramError) -> None:
        self._withdraw(entry)
        if not entry.future.done():
            entry.future.set_exception(error)

    def _withdraw(self, entry: Entry) -> None:
        """Take a request out of the queue, if it is still there."""
        if self._waiting.pop(id(entry), None) is not None:
            self._waiting_cost -= entry.cost
            self._note_quiet()

    def _note_quiet(self) -> None:
        if not self._waiting and len(self._idle) == len(self._executors):
            self._quiet.set()


def _too_late(entry: Entry, now: float) -> DeadlineExceeded:
    waited_ms = round((now - entry.arrived) * 1e3, 3)
    return DeadlineExceeded(f"no answer before the deadline, after {waited_ms:g} ms", waited_ms=waited_ms)
