"""The queue of one model: joins requests that wait at the same time and hands them to executor threads.

Everything but the runs happens on the event loop, so nothing here needs a lock. A batch is what waits at the
moment an executor is free.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from math import prod

from server.contract.manifest import Signature
from server.contract.tensors import Arrays, sizes_of
from server.errors import InvalidRequest
from server.runtime.batching import choose
from server.runtime.executor import Entry, Executor, Outcome, Run
from server.runtime.lines import Priority
from server.runtime.options import RuntimeOptions
from server.runtime.request_queue import MIN_COST, RequestQueue
from server.runtime.session import Session
from server.runtime.statistics import Statistics


class Batcher(RequestQueue[Entry, Executor, Session]):
    """The queue of one model and its executors. Construct it on the event loop; it owns the sessions."""

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
        self._signature = signature
        self._largest = max(signature.inputs, key=lambda spec: len(spec.dims)).name
        self._idle: list[Executor] = []
        super().__init__(sessions, options, clock, renew=renew)

    async def run(
        self,
        arrays: Arrays,
        outputs: Sequence[str],
        deadline: float | None,
        priority: Priority = Priority.INTERACTIVE,
    ) -> Run:
        """Run one request's arrays, together with others that fit.

        Args:
            arrays: named inputs without the batch axis.
            outputs: the graph outputs wanted.
            deadline: in seconds on the batcher's clock (``time.monotonic``); ``None`` sets none.
            priority: who goes first.

        Raises:
            DeadlineExceeded: at the deadline, whatever the executors do.
            InvalidRequest: the arrays do not fit the signature.
            Overloaded: the queue is full, or too long for this request.
            RunError: the graph failed on this request.
            ShuttingDown: the batcher drains or is closed.
        """
        self._require_open()
        try:
            sizes = sizes_of(self._signature.inputs, arrays)
        except ValueError as error:
            raise InvalidRequest(str(error)) from error
        shape = arrays[self._largest].shape
        cells = prod(shape)
        cost = max(MIN_COST, cells)
        future = self._loop.create_future()
        entry = Entry(
            cost, self._clock(), deadline, future, arrays, outputs, sizes, shape, cells, priority=priority
        )
        self._enqueue(entry)
        try:
            run: Run = await future
            return run
        finally:
            self._leave(entry)

    def _executor(self, session: Session) -> Executor:
        executor = Executor(
            session,
            self._signature,
            self._loop,
            done=self._done,
            lost=self._lost,
            stall_s=self._options.executor_stall_s,
            clock=self._clock,
        )
        self._idle.append(executor)
        return executor

    def _has_room(self) -> bool:
        return bool(self._idle)

    def _is_idle(self) -> bool:
        return len(self._idle) == len(self._executors)

    def _dispatch(self) -> None:
        """Give every idle executor a batch, as long as requests wait."""
        self._dispatching = False
        options = self._options
        while self._idle and self._waiting:
            executor = self._idle.pop()
            batch = choose(self._waiting.begin_batch(), options.max_batch_size, options.max_batch_cost)
            if live := self._take(batch):
                executor.submit(live)
            else:
                self._idle.append(executor)
        self._note_quiet()

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

    def _lost(self, executor: Executor, entries: Sequence[Entry], why: str) -> None:
        if executor in self._idle:
            self._idle.remove(executor)
        super()._lost(executor, entries, why)
