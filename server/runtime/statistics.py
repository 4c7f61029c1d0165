"""What became of a model's requests, in the terms of Triton's statistics: counts and nanoseconds.

Written on the event loop only: by ``LoadedModel`` for each request, by ``Batcher`` for each run.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from server.errors import DeadlineExceeded, Overloaded, RunError
from server.runtime.executor import Run

Reason = Literal["REJECTED", "CANCELED", "BACKEND", "OTHER"]
REASONS: tuple[Reason, ...] = ("REJECTED", "CANCELED", "BACKEND", "OTHER")


@dataclass(slots=True)
class Duration:
    """How often something was done, and how many nanoseconds it took in all."""

    count: int = 0
    ns: int = 0

    def add(self, ms: float, count: int = 1) -> None:
        """Take note of ``count`` more, which took ``ms`` milliseconds together."""
        self.count += count
        self.ns += round(ms * 1e6)


@dataclass(slots=True)
class ComputeDurations:
    """The three parts of a run: joining the requests, the graph, taking the results apart."""

    input: Duration = field(default_factory=Duration)
    infer: Duration = field(default_factory=Duration)
    output: Duration = field(default_factory=Duration)

    def add(self, run: Run, count: int = 1) -> None:
        """Take note of ``count`` equal runs."""
        self.input.add(run.input_ms * count, count)
        self.infer.add((run.compute_ms - run.input_ms - run.output_ms) * count, count)
        self.output.add(run.output_ms * count, count)


class Statistics:
    """The counts of one version of one model since it was loaded.

    ``inference_count`` counts rows, ``execution_count`` runs of the graph, ``batches`` runs by their size.
    """

    def __init__(self) -> None:
        self.success, self.fail, self.queue = Duration(), Duration(), Duration()
        self.compute = ComputeDurations()
        self.failures: dict[Reason, int] = dict.fromkeys(REASONS, 0)
        self.batches: dict[int, ComputeDurations] = {}
        self.inference_count = 0
        self.execution_count = 0
        self.last_inference_ms = 0

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count what happens inside as one request, failed when it raises."""
        started = time.monotonic()
        try:
            yield
        except BaseException as error:
            self.fail.add((time.monotonic() - started) * 1e3)
            self.failures[_reason(error)] += 1
            raise
        self.success.add((time.monotonic() - started) * 1e3)
        self.last_inference_ms = round(time.time() * 1e3)

    def answered(self, runs: Sequence[Run]) -> None:
        """Take note of one request's rows; its time in each stage is that of its slowest row."""
        self.inference_count += len(runs)
        self.queue.add(max(run.queue_ms for run in runs))
        self.compute.add(max(runs, key=lambda run: run.compute_ms))

    def executed(self, outcomes: Sequence[object]) -> None:
        """Take note of what an executor handed back: every run of ``n`` requests appears ``n`` times."""
        runs = {run.batch_size: run for run in outcomes if isinstance(run, Run)}
        counts = Counter(run.batch_size for run in outcomes if isinstance(run, Run))
        for size, run in runs.items():
            times = counts[size] // size
            self.execution_count += times
            self.batches.setdefault(size, ComputeDurations()).add(run, times)


def _reason(error: BaseException) -> Reason:
    match error:
        case Overloaded() | DeadlineExceeded():
            return "REJECTED"
        case asyncio.CancelledError():
            return "CANCELED"
        case RunError():
            return "BACKEND"
        case _:
            return "OTHER"
