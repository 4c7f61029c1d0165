"""The door of a queue: a request that would wait too long, or take too much memory, is refused at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from server.errors import Overloaded
from server.runtime.batching import ServiceRate
from server.runtime.lines import Lines, Priority
from server.runtime.options import RuntimeOptions

SHARES = {Priority.INTERACTIVE: 1.0, Priority.BATCH: 0.5}
"""The part of ``max_queue_cost`` up to which each priority may fill the queue; more urgent ones have the
rest."""

FULL_BATCHES = 2
"""However slow a model is, this many full batches may wait for each executor, so that none runs dry."""

MARGIN = 1.25
"""How much longer than estimated an answer may take. Under overload the queue grows until the last request
can just meet its deadline: without a margin most would miss it by a little, and their runs be wasted."""


class Admission:
    """Bounds what waits in cells and, by the observed rate, in time.

    Time bounds interactive requests (``max_queue_ms``); batch work rather waits than comes again. A request
    that would miss its deadline is refused, whatever its priority.
    """

    def __init__(self, options: RuntimeOptions, waiting: Lines[Any], rate: ServiceRate) -> None:
        self._options = options
        self._waiting = waiting
        self._rate = rate
        self._enough = FULL_BATCHES * options.max_batch_size

    def check(self, cost: int, priority: Priority, left_s: float, in_work: Sequence[int]) -> None:
        """Let a request in, or not.

        Args:
            cost: its cells.
            priority: how urgent it is.
            left_s: seconds until its deadline.
            in_work: for each executor that lives, the cells that it works on.

        Raises:
            Overloaded: the queue is full, or too long for this request.
        """
        waiting, executors = self._waiting, max(1, len(in_work))
        if not (count := len(waiting)):
            return
        limit = int(self._options.max_queue_cost * SHARES[priority])
        if waiting.cost + cost > limit:
            raise self._refusal(f"it queues {limit} cells (ENGRAM_MAX_QUEUE_COST)", executors, limit=limit)
        rate = self._rate
        if not rate.is_known:
            return
        wait_s = rate.seconds_for(waiting.cost_ahead(priority) + sum(in_work)) / executors
        answer_s = MARGIN * (wait_s + rate.seconds_for(cost))
        most_ms = self._options.max_queue_ms
        if answer_s > left_s:
            raise self._refusal(f"there is no answer within {left_s * 1e3:.0f} ms", executors)
        if wait_s * 1e3 > most_ms and priority is Priority.INTERACTIVE and count >= self._enough * executors:
            raise self._refusal(f"it queues {most_ms:g} ms of work (ENGRAM_MAX_QUEUE_MS)", executors)

    def _refusal(self, why: str, executors: int, **details: int) -> Overloaded:
        count, cost = len(self._waiting), self._waiting.cost
        return Overloaded(
            f"{count} requests of {cost} cells wait for this model: {why}",
            self._rate.seconds_for(cost) / executors,
            waiting=count,
            queue_cost=cost,
            **details,
        )
