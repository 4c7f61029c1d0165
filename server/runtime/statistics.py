"""What became of a model's requests: counts, nanoseconds in Triton's terms, and distributions.

Written on the event loop only: by ``LoadedModel`` for each request, by ``Batcher`` for each batch. Everything
here is plain data that ``include`` adds up, so that several processes can be counted as one.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Literal, get_args

from server.errors import DeadlineExceeded, EngramError, InputError, Overloaded, RunError, ShuttingDown
from server.runtime.executor import Run
from server.runtime.lines import Priority

Ending = Literal["ok", "invalid", "overloaded", "expired", "refused", "cancelled", "failed", "error"]
ENDINGS: tuple[Ending, ...] = get_args(Ending)
"""How a request can end: ``expired`` at its deadline, ``cancelled`` by its client, ``refused`` while the
server drains, ``failed`` in the graph, ``error`` by a fault of ours."""

_ENDINGS: Mapping[type[BaseException], Ending] = {
    InputError: "invalid",
    Overloaded: "overloaded",
    DeadlineExceeded: "expired",
    ShuttingDown: "refused",
    asyncio.CancelledError: "cancelled",
    RunError: "failed",
    EngramError: "error",
    BaseException: "error",
}

Reason = Literal["REJECTED", "CANCELED", "BACKEND", "OTHER"]
REASONS: Mapping[Reason, tuple[Ending, ...]] = {
    "REJECTED": ("overloaded", "expired", "refused"),
    "CANCELED": ("cancelled",),
    "BACKEND": ("failed",),
    "OTHER": ("invalid", "error"),
}
"""Triton's reasons of a failure, and the endings that count as each."""

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
FILLS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
WASTES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0)


@dataclass(slots=True)
class Duration:
    """How often something was done, and how many nanoseconds it took in all."""

    count: int = 0
    ns: int = 0

    def add(self, ms: float, count: int = 1) -> None:
        """Take note of ``count`` more, which took ``ms`` milliseconds together."""
        self.count += count
        self.ns += round(ms * 1e6)

    def include(self, other: Duration) -> None:
        """Add another's counts."""
        self.count += other.count
        self.ns += other.ns


@dataclass(slots=True)
class ComputeDurations:
    """The three parts of a run: joining the requests, the graph, taking the results apart."""

    input: Duration = field(default_factory=Duration)
    infer: Duration = field(default_factory=Duration)
    output: Duration = field(default_factory=Duration)

    def add(self, run: Run) -> None:
        """Take note of a run."""
        self.input.add(run.input_ms)
        self.infer.add(run.compute_ms - run.input_ms - run.output_ms)
        self.output.add(run.output_ms)

    def include(self, other: ComputeDurations) -> None:
        """Add another's counts."""
        self.input.include(other.input)
        self.infer.include(other.infer)
        self.output.include(other.output)


@dataclass(slots=True)
class Histogram:
    """How often a value was at most each bound; the last count is of those above all bounds."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Take note of a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def include(self, other: Histogram) -> None:
        """Add another's counts."""
        self.counts = [own + more for own, more in zip(self.counts, other.counts, strict=True)]
        self.total += other.total


@dataclass(slots=True)
class Statistics:
    """The counts of one version of one model since it was loaded.

    ``inference_count`` counts rows, ``execution_count`` runs of the graph, ``batches`` runs by their size.
    ``cells`` counts what requests brought to the graph, ``padded_cells`` what it was given. ``queue_seconds``
    has a distribution for each priority. Of a model that is driven step by step, ``steps`` counts runs of the
    step graph, and ``stepped_rows`` the rows in them.
    """

    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    compute: ComputeDurations = field(default_factory=ComputeDurations)
    endings: dict[Ending, int] = field(default_factory=lambda: dict.fromkeys(ENDINGS, 0))
    batches: dict[int, ComputeDurations] = field(default_factory=dict)
    inference_count: int = 0
    execution_count: int = 0
    last_inference_ms: int = 0
    cells: int = 0
    padded_cells: int = 0
    steps: int = 0
    stepped_rows: int = 0
    request_seconds: Histogram = field(default_factory=partial(Histogram, SECONDS))
    queue_seconds: dict[str, Histogram] = field(
        default_factory=lambda: {each.label: Histogram(SECONDS) for each in Priority}
    )
    batch_size: Histogram = field(default_factory=partial(Histogram, SIZES))
    fill: Histogram = field(default_factory=partial(Histogram, FILLS))
    waste: Histogram = field(default_factory=partial(Histogram, WASTES))

    @property
    def failures(self) -> dict[Reason, int]:
        """How many requests failed, by Triton's reasons."""
        return {reason: sum(self.endings[each] for each in endings) for reason, endings in REASONS.items()}

    def request(self) -> RequestCount:
        """Return a context that counts what happens inside as one request, failed when it raises."""
        return RequestCount(self)

    def answered(self, runs: Sequence[Run], priority: str) -> None:
        """Take note of one request's rows; its time in each stage is that of its slowest row."""
        queue_ms = max(run.queue_ms for run in runs) if len(runs) > 1 else runs[0].queue_ms
        self.inference_count += len(runs)
        self.queue.add(queue_ms)
        self.queue_seconds[priority].observe(queue_ms / 1e3)
        self.compute.add(max(runs, key=lambda run: run.compute_ms))

    def executed(self, outcomes: Sequence[object], budget: int) -> None:
        """Take note of what an executor handed back: one run of several requests, or each one's own.

        Args:
            outcomes: for each request of a batch its run, an error, or nothing.
            budget: most cells that a batch may hold.
        """
        runs = [run for run in outcomes if isinstance(run, Run)]
        joined = bool(runs) and runs[0].batch_size == len(runs)
        for batch in [runs] if joined else [[run] for run in runs]:
            cells = sum(run.cells for run in batch)
            padded_cells = sum(run.padded_cells for run in batch)
            self.execution_count += 1
            self.cells += cells
            self.padded_cells += padded_cells
            self.batch_size.observe(len(batch))
            self.fill.observe(padded_cells / budget)
            self.waste.observe(padded_cells / cells - 1 if cells else 0.0)
            self.batches.setdefault(len(batch), ComputeDurations()).add(batch[0])

    def stepped(self, runs: int, rows: int, cells: int, padded_cells: int) -> None:
        """Take note of one step of all requests that walk together: rows in runs, and cells in those."""
        self.steps += runs
        self.stepped_rows += rows
        self.execution_count += runs
        self.cells += cells
        self.padded_cells += padded_cells

    def include(self, other: Statistics) -> None:
        """Add the counts of the same model in another process."""
        for name in ("success", "fail", "queue", "compute"):
            getattr(self, name).include(getattr(other, name))
        for name in ("request_seconds", "batch_size", "fill", "waste"):
            getattr(self, name).include(getattr(other, name))
        for priority, seconds in other.queue_seconds.items():
            self.queue_seconds[priority].include(seconds)
        for name in ("inference_count", "execution_count", "cells", "padded_cells", "steps", "stepped_rows"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.last_inference_ms = max(self.last_inference_ms, other.last_inference_ms)
        self.endings = {ending: count + other.endings[ending] for ending, count in self.endings.items()}
        for size, durations in other.batches.items():
            self.batches.setdefault(size, ComputeDurations()).include(durations)


class RequestCount:
    """Counts one request when it ends. A class, because a generator would cost each request more."""

    __slots__ = ("_started", "_statistics")

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics

    def __enter__(self) -> None:
        self._started = time.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        statistics, seconds = self._statistics, time.monotonic() - self._started
        if kind is None:
            statistics.endings["ok"] += 1
            statistics.success.add(seconds * 1e3)
            statistics.request_seconds.observe(seconds)
            statistics.last_inference_ms = round(time.time() * 1e3)
        else:
            statistics.endings[ending_of(kind)] += 1
            statistics.fail.add(seconds * 1e3)


def ending_of(kind: type[BaseException]) -> Ending:
    """Return how a request ends that raises this: the ending of the nearest ancestor."""
    return next(_ENDINGS[cls] for cls in kind.__mro__ if cls in _ENDINGS)
