"""The door of a queue: a request that would wait too long, or take too much memory, is refused at once."""

from __future__ import annotations

from typing import Any

from server.errors import Overloaded
from server.runtime.batching import ServiceRate
from server.runtime.lines import Lines, Priority
from server.runtime.options import RuntimeOptions

SHARES = {Priority.INTERACTIVE: 1.0, Priority.BATCH: 0.5}
"""The part of ``max_queue_cost`` up to which each priority may fill the queue; the rest is for more urgent
ones."""

FULL_BATCHES = 2
"""However slow a model is, this many full batches may wait for each executor: it must never run dry."""


class Admission:
    """Bounds what waits in cells and, by the observed rate, in time.

    Time bounds interactive requests (``max_queue_ms``); batch work prefers waiting to coming again. Nobody is
    let in who would still wait at his deadline.
    """

    def __init__(self, options: RuntimeOptions, waiting: Lines[Any], rate: ServiceRate) -> None:
        self._options = options
        self._waiting = waiting
        self._rate = rate
        self._enough = FULL_BATCHES * options.max_batch_size

    def check(self, cost: int, priority: Priority, left_s: float, executors: int) -> None:
        """Let a request of ``cost`` cells in, whose deadline is in ``left_s`` seconds.

        Raises:
            Overloaded: the queue is full, or too long for this request.
        """
        waiting = self._waiting
        count = len(waiting)
        if not count:
            return
        limit = int(self._options.max_queue_cost * SHARES[priority])
        if waiting.cost + cost > limit:
            raise self._refusal(f"it queues {limit} cells (ENGRAM_MAX_QUEUE_COST)", executors, limit=limit)
        if not self._rate.is_known:
            return
        wait_ms = self._rate.seconds_for(waiting.cost_ahead(priority)) / max(1, executors) * 1e3
        most_ms = self._options.max_queue_ms
        if wait_ms > left_s * 1e3:
            raise self._refusal(
                f"a deadline in {left_s * 1e3:.0f} ms cannot be met", executors, wait_ms=wait_ms
            )
        if wait_ms > most_ms and priority is Priority.INTERACTIVE and count >= self._enough * executors:
            raise self._refusal(
                f"it queues {most_ms:g} ms of work (ENGRAM_MAX_QUEUE_MS)", executors, wait_ms=wait_ms
            )

    def _refusal(self, why: str, executors: int, **details: float) -> Overloaded:
        waiting = self._waiting
        told = {name: round(value, 3) for name, value in details.items()}
        return Overloaded(
            f"{len(waiting)} requests of {waiting.cost} cells wait for this model: {why}",
            self._rate.seconds_for(waiting.cost) / max(1, executors),
            waiting=len(waiting),
            queue_cost=waiting.cost,
            **told,
        )
