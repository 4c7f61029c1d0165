"""The queue in front of a model's executors: bounded in cost, with deadlines, drained and closed.

What runs together, and how, is for ``Batcher`` and ``Decoder`` to say. Everything here happens on the event
loop, so nothing needs a lock. There is no waiting window: what waits runs as soon as an executor takes it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from abc import ABC, abstractmethod
from asyncio import Future, TimerHandle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from server.errors import DeadlineExceeded, EngramError, ExecutorLost, ShuttingDown
from server.runtime.admission import Admission
from server.runtime.batching import ServiceRate
from server.runtime.lines import Lines, Priority
from server.runtime.options import RuntimeOptions
from server.runtime.worker import Worker

logger = logging.getLogger(__name__)

MIN_COST = 64
"""Cells that the smallest request counts for in the queue: its run and its memory have a price too."""

FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 30.0
"""How long to wait before trying again to replace a lost executor; the wait doubles."""


@dataclass(slots=True, eq=False)
class Waiting:
    """A request from its admission to its answer. ``cost`` is what it counts for in the queue."""

    cost: int
    arrived: float
    deadline: float | None
    future: Future[Any]
    priority: Priority = field(default=Priority.INTERACTIVE, kw_only=True)
    timer: TimerHandle | None = field(default=None, kw_only=True)


E = TypeVar("E", bound=Waiting)
X = TypeVar("X", bound=Worker)
S = TypeVar("S")


class RequestQueue(ABC, Generic[E, X, S]):
    """The queue of one model and its executors, each with a session of its own, which it closes at its end.

    An executor that is lost is replaced by one with a session from ``renew``, which is called on a thread
    until it gives one; requests wait meanwhile.
    """

    def __init__(
        self,
        sessions: Sequence[S],
        options: RuntimeOptions,
        clock: Callable[[], float] = time.monotonic,
        *,
        renew: Callable[[], S] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._options = options
        self._clock = clock
        self._renew = renew
        self._renewals: set[asyncio.Task[None]] = set()
        self._waiting: Lines[E] = Lines()
        self._rate = ServiceRate()
        self._admission = Admission(options, self._waiting, self._rate)
        self._dispatching = False
        self._refusing = False
        self._closed = False
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._executors = [self._executor(session) for session in sessions]

    @property
    def waiting(self) -> int:
        """How many requests wait for an executor."""
        return len(self._waiting)

    @property
    def waiting_cost(self) -> int:
        """How many cells wait; ``max_queue_cost`` bounds them."""
        return self._waiting.cost

    @property
    def waiting_costs(self) -> dict[Priority, int]:
        """How many cells of each priority wait."""
        return dict(self._waiting.costs)

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

    @abstractmethod
    def _executor(self, session: S) -> X:
        """Return an executor with this session."""

    @abstractmethod
    def _dispatch(self) -> None:
        """Hand waiting requests to executors, as far as those take more."""

    @abstractmethod
    def _has_room(self) -> bool:
        """Say whether any executor takes more."""

    @abstractmethod
    def _is_idle(self) -> bool:
        """Say whether no executor works on anything."""

    def require_room(self, deadline: float | None, priority: Priority, cost: int = MIN_COST) -> None:
        """Refuse a request that cannot be taken; ask before it is prepared, so that a refusal costs little.

        Args:
            deadline: in seconds on the queue's clock; ``None`` sets none.
            priority: how urgent it is.
            cost: its cells.

        Raises:
            Overloaded: the queue is full, or too long for this request.
            ShuttingDown: the queue drains or is closed.
        """
        self._require_open()
        left_s = math.inf if deadline is None else deadline - self._clock()
        self._admission.check(cost, priority, left_s, [executor.cost for executor in self._executors])

    def _require_open(self) -> None:
        if self._refusing:
            raise ShuttingDown("the server is shutting down")

    def _enqueue(self, entry: E) -> None:
        """Let a request wait.

        Raises:
            DeadlineExceeded: its deadline has passed.
            Overloaded: the queue is full, or too long for this request.
            ShuttingDown: the queue drains or is closed.
        """
        if entry.deadline is not None and entry.deadline <= entry.arrived:
            raise _too_late(entry, entry.arrived)
        self.require_room(entry.deadline, entry.priority, entry.cost)
        if entry.deadline is not None:
            entry.timer = self._loop.call_later(entry.deadline - entry.arrived, self._expire, entry)
        self._waiting.add(entry)
        self._quiet.clear()
        if not self._dispatching and self._has_room():
            # Once round the loop, so that requests which arrived together are joined.
            self._dispatching = True
            self._loop.call_soon(self._dispatch)

    def _leave(self, entry: E) -> None:
        """Forget a request that nobody awaits any more."""
        if entry.timer is not None:
            entry.timer.cancel()
        self._withdraw(entry)

    def _take(self, batch: Sequence[E]) -> list[E]:
        """Take a batch out of the queue and return those of it that can still be answered in time."""
        now = self._clock()
        for entry in batch:
            if entry.deadline is not None and entry.deadline <= now:
                self._expire(entry)
            self._withdraw(entry)
        return [entry for entry in batch if not entry.future.done()]

    def _lost(self, executor: X, entries: Sequence[E], why: str) -> None:
        """Answer the requests of a lost executor and put another in its place."""
        logger.error("an executor is lost: %s", why)
        self._executors.remove(executor)
        for entry in entries:
            self._refuse(entry, ExecutorLost("the executor of this request was lost; ask again"))
        if self._renew is not None and not self._closed:
            renewal = self._loop.create_task(self._replace(self._renew))
            self._renewals.add(renewal)
            renewal.add_done_callback(self._renewals.discard)
        self._note_quiet()

    async def _replace(self, renew: Callable[[], S]) -> None:
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
        self._dispatch()

    def _expire(self, entry: E) -> None:
        self._refuse(entry, _too_late(entry, self._clock()))

    def _refuse(self, entry: E, error: EngramError) -> None:
        self._withdraw(entry)
        if not entry.future.done():
            entry.future.set_exception(error)

    def _withdraw(self, entry: E) -> None:
        """Take a request out of the queue, if it is still there."""
        if self._waiting.remove(entry):
            self._note_quiet()

    def _note_quiet(self) -> None:
        if not self._waiting and self._is_idle():
            self._quiet.set()


def _too_late(entry: Waiting, now: float) -> DeadlineExceeded:
    waited_ms = round((now - entry.arrived) * 1e3, 3)
    return DeadlineExceeded(f"no answer before the deadline, after {waited_ms:g} ms", waited_ms=waited_ms)
