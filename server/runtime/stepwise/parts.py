"""One request as many walks: its parts go through the decoder side by side and come back as one answer.

The first part is as urgent as its request, and refused like it. The others wait behind what is urgent of
everybody else, and rather wait than be refused: a long request neither holds up short ones nor breaks off
half-way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from server.contract.bundle import Bundle
from server.errors import DeadlineExceeded, EngramError, ExecutorLost, Overloaded, ShuttingDown
from server.runtime.executor import Run
from server.runtime.lines import Priority
from server.runtime.stepwise.decoder import Decoder
from server.runtime.stepwise.executor import Answered, OnEvents
from server.runtime.stepwise.walker import Events
from server.tasks.parted import PartedTask
from server.tracing import step

PARTS_AT_ONCE = 64
"""Parts of one request that wait or walk at the same time."""

SOON_S, LATE_S = 0.01, 0.1
"""How soon a part that found the queue full looks again, and how late."""


class InOrder:
    """Passes events on in the order of the parts they come from; those of later parts wait their turn."""

    def __init__(self, on_events: OnEvents) -> None:
        self._on_events = on_events
        self._turn = 0
        self._kept: dict[int, list[Events]] = {}
        self._ended: set[int] = set()

    def tell(self, place: int, events: Events) -> None:
        """Take events of a part."""
        if place == self._turn:
            self._on_events(events)
        else:
            self._kept.setdefault(place, []).append(events)

    def end(self, place: int) -> None:
        """Take note that a part has nothing more to tell."""
        self._ended.add(place)
        while self._turn in self._ended:
            self._ended.remove(self._turn)
            self._turn += 1
            for events in self._kept.pop(self._turn, ()):
                self._on_events(events)


async def walk_parts(
    task: PartedTask,
    bundle: Bundle,
    decoder: Decoder,
    request: Any,
    *,
    deadline: float | None,
    priority: Priority = Priority.INTERACTIVE,
    on_events: OnEvents | None = None,
) -> tuple[Any, list[Run]]:
    """Answer a request part by part.

    Returns:
        The whole answer, and a run for each part that has an answer of its own.

    Raises:
        EngramError: what the task makes of parts that failed.
        Overloaded: there was no room for the first part.
        ExecutorLost, ShuttingDown: of batch work, which is rather asked again than answered in part.
    """
    with step("prepare"):
        if task.is_long(request):
            parts = await asyncio.to_thread(task.parts, request, bundle)
        else:
            parts = task.parts(request, bundle)
    outcomes: list[Any] = [None] * len(parts)
    runs: list[Run] = []
    queue: Iterator[tuple[int, Any]] = iter(enumerate(parts))
    order = InOrder(on_events) if on_events is not None else None

    async def walk(place: int, part: Any) -> Answered:
        def tell(events: Events) -> None:
            assert order is not None
            order.tell(place, events)

        if not _has_time(deadline, 0.0):
            raise DeadlineExceeded("no answer before the deadline")  # which waits for nothing more
        prepared = replace(task.prepare(part, bundle), is_streamed=order is not None)
        urgency = Priority.BATCH if place else priority
        while True:
            try:
                return await decoder.run(prepared, deadline, None if order is None else tell, urgency)
            except Overloaded as error:
                if not place or not _has_time(deadline, error.retry_after_s):
                    raise
                await asyncio.sleep(min(max(error.retry_after_s, SOON_S), LATE_S))

    async def work() -> None:
        for place, part in queue:
            try:
                answered = await walk(place, part)
                outcomes[place] = answered.answer
                runs.append(answered.run)
            except EngramError as error:
                if isinstance(error, Overloaded) and not place:
                    raise  # before work is done for an answer that nobody would get
                outcomes[place] = error
            if order is not None:
                order.end(place)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(len(parts), PARTS_AT_ONCE)):
                group.create_task(work())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    if priority is Priority.BATCH:
        for outcome in outcomes:
            if isinstance(outcome, ExecutorLost | ShuttingDown):
                raise outcome
    with step("interpret"):
        return task.whole(request, parts, outcomes, bundle), runs


def _has_time(deadline: float | None, seconds: float) -> bool:
    return deadline is None or time.monotonic() + seconds < deadline


def whole_run(runs: Sequence[Run], began: float) -> Run:
    """Return one run that says what all parts took: from ``began`` on ``time.monotonic`` until now."""
    elapsed_ms = (time.monotonic() - began) * 1e3
    queue_ms = min((run.queue_ms for run in runs), default=0.0)
    batch_size = max((run.batch_size for run in runs), default=1)
    return Run({}, batch_size, queue_ms, elapsed_ms - queue_ms, cells=sum(run.cells for run in runs))
