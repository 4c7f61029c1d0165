"""The queue of one model that is driven step by step: requests join a running batch as soon as it has room.

Everything but the walks happens on the event loop. Each executor walks as many requests as fit
``max_batch_size`` and ``max_batch_cost``; a request counts for its cells times the most rows it may have.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from server.contract.bundle import Bundle
from server.errors import InvalidRequest
from server.runtime.lines import Priority
from server.runtime.options import RuntimeOptions
from server.runtime.request_queue import MIN_COST, RequestQueue
from server.runtime.statistics import Statistics
from server.runtime.stepwise.executor import Answered, Entry, OnEvents, StepwiseExecutor, Turn
from server.runtime.stepwise.stages import StageSessions
from server.runtime.stepwise.walker import Walker
from server.runtime.stepwise.wiring import Wiring
from server.tasks import Prepared, StepwiseTask


class Decoder(RequestQueue[Entry, StepwiseExecutor, StageSessions]):
    """The queue of one stepwise model, and its executors. Construct it on the event loop."""

    def __init__(
        self,
        sessions: Sequence[StageSessions],
        task: StepwiseTask,
        bundle: Bundle,
        options: RuntimeOptions,
        clock: Callable[[], float] = time.monotonic,
        *,
        statistics: Statistics | None = None,
        renew: Callable[[], StageSessions] | None = None,
    ) -> None:
        self._statistics = statistics or Statistics()
        self._task = task
        self._bundle = bundle
        self._wiring = Wiring.of(bundle.manifest)
        self._next: Entry | None = None
        self._yields = False
        self._joining: dict[StepwiseExecutor, list[Entry]] = {}
        self._busy_s = 0.0
        super().__init__(sessions, options, clock, renew=renew)

    @property
    def running(self) -> int:
        """How many requests walk."""
        return sum(len(executor.entries) for executor in self._executors)

    async def run(
        self,
        prepared: Prepared,
        deadline: float | None,
        on_events: OnEvents | None = None,
        priority: Priority = Priority.INTERACTIVE,
    ) -> Answered:
        """Walk one request to its end, beside others.

        Args:
            prepared: what the task made of the request.
            deadline: in seconds on the decoder's clock (``time.monotonic``); ``None`` sets none.
            on_events: called on the event loop with what each step had to tell, in order, and not after the
                answer. It must return at once: what waits for a slow reader is for the caller to keep.
            priority: how urgent it is.

        Raises:
            DeadlineExceeded: at the deadline, whatever the executors do; the walk ends with its step.
            InvalidRequest: the arrays do not fit the stages.
            Overloaded: the queue is full.
            RunError: a graph or the search failed on this request.
            ShuttingDown: the decoder drains or is closed.
        """
        self._require_open()
        try:
            newcomer = self._wiring.newcomer(prepared)
        except ValueError as error:
            raise InvalidRequest(str(error)) from error
        cost = max(MIN_COST, newcomer.cells * prepared.rows)
        future = self._loop.create_future()
        entry = Entry(cost, self._clock(), deadline, future, newcomer, on_events, priority=priority)
        self._enqueue(entry)
        try:
            answered: Answered = await future
            return answered
        finally:
            self._leave(entry)

    def _executor(self, session: StageSessions) -> StepwiseExecutor:
        return StepwiseExecutor(
            Walker(session, self._wiring, self._task, self._bundle, self._options),
            session.close,
            self._loop,
            turned=self._after_turn,
            lost=self._lost,
            stall_s=self._options.executor_stall_s,
            clock=self._clock,
        )

    def _has_room(self) -> bool:
        return any(len(each.entries) < self._options.max_batch_size for each in self._executors)

    def _is_idle(self) -> bool:
        return not self._joining and not any(executor.entries for executor in self._executors)

    def _dispatch(self) -> None:
        """Let waiting requests join, one after the other, where there is most room for them."""
        self._dispatching = False
        joining = self._joining
        while self._waiting and self._executors:
            entry = self._first()
            executor = min(self._executors, key=lambda each: each.cost + _cost(joining.get(each, ())))
            joined = joining.setdefault(executor, [])
            if not self._fits(entry, executor, joined):
                break
            self._next = None
            joined += self._take([entry])
        for executor, entries in joining.items():
            if entries:
                executor.admit(entries)
        joining.clear()
        self._note_quiet()

    def _first(self) -> Entry:
        """Return who joins next. Nobody is passed over for being large: it waits until there is room.

        Batch work that was next while nothing urgent waited lets urgent requests go first after all.
        """
        urgent = self._waiting.costs[Priority.INTERACTIVE] > 0
        if self._next is None or self._next.future.done() or (self._yields and urgent):
            self._next = next(self._waiting.begin_batch())
            self._yields = not urgent
        return self._next

    def _fits(self, entry: Entry, executor: StepwiseExecutor, joined: Sequence[Entry]) -> bool:
        count = len(executor.entries) + len(joined)
        cost = executor.cost + _cost(joined) + entry.cost
        options = self._options
        return not count or (count < options.max_batch_size and cost <= options.max_batch_cost)

    def _after_turn(self, executor: StepwiseExecutor, turn: Turn) -> None:
        """Take what a turn gave; those that wait come first, so that they join the next but one."""
        self._busy_s += turn.seconds
        if turn.ended:
            self._rate.observe(sum(entry.cost for entry, _ in turn.ended), self._busy_s)
            self._busy_s = 0.0
        self._statistics.stepped(turn.runs, turn.rows, turn.cells, turn.padded_cells)
        self._dispatch()
        for entry, events in turn.told:
            if entry.on_events is not None and not entry.future.done():
                entry.on_events(events)
        for entry, ending in turn.ended:
            if entry.future.done() or ending is None:
                continue
            if isinstance(ending, Answered):
                entry.future.set_result(ending)
            else:
                entry.future.set_exception(ending)


def _cost(entries: Sequence[Entry]) -> int:
    return sum(entry.cost for entry in entries)
