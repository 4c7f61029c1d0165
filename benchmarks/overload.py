"""At twice saturation: how soon are rejections told, how late are deadlines, what becomes of the accepted.

A closed loop of 64 connections gives a first rate. From there an open loop goes up in steps of 5 % until the
server refuses 1 % of the requests: that is saturation. Then come twice that rate, and twice that rate with a
deadline that leaves no time to wait as long as the queue is. Latencies count from the moment a request was
due, deadlines from the moment it was sent. Takes a minute or two.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.closed_loop import closed_loop, saved
from benchmarks.open_loop import Shot, open_loop, run_on
from benchmarks.options import open_bundle, parser
from benchmarks.report import Table, about_bundle, write
from benchmarks.serving import engram
from benchmarks.traces import TWENTY_FACTS, qa_posts, read_trace

MODULE = "benchmarks.overload"
PATIENCE_S = 35.0
"""The server's own longest answer is 30 s."""

STEP, REFUSED = 1.05, 0.01
"""Saturation is the first rate, in steps of this size, of which this share is refused."""

MOST_STEPS = 12

PERCENTILES = (1, 10, 25, 50, 75, 90, 95, 99, 99.9, 100)

CLOSED, SATURATION, TWICE, HURRIED = "closed-loop rate", "saturation", "twice", "twice, with a deadline"

Fire = Callable[[Sequence[bytes], float], list[Shot]]


@dataclass(frozen=True)
class Phase:
    """Requests at one rate, and what became of each."""

    name: str
    rate: float
    shots: Sequence[Shot]

    def of(self, status: int) -> list[Shot]:
        """Return the requests that were answered so."""
        return [shot for shot in self.shots if shot.status == status]

    def p99_ms(self, status: int) -> float:
        """Return the 99th percentile of the latency of those answered so."""
        return percentile([shot.answered - shot.due for shot in self.of(status)], 99)

    def late_p999_ms(self, deadline_ms: float) -> float:
        """Return by how much the answers at the deadline were late, at the 99.9th percentile."""
        return percentile([shot.answered - shot.sent - deadline_ms / 1e3 for shot in self.of(504)], 99.9)

    def unsaid(self) -> int:
        """Return how many rejections did not say when to come back."""
        return sum(not shot.has_retry_after for shot in self.of(429))

    def numbers(self) -> dict[str, Any]:
        """Return percentiles of the latencies, in milliseconds, by status."""
        by_status = {
            status: [shot.answered - shot.due for shot in self.of(status)]
            for status in sorted({shot.status for shot in self.shots if shot.status})
        }
        found = {
            str(status): {"count": len(waits), **{f"p{at:g}": percentile(waits, at) for at in PERCENTILES}}
            for status, waits in by_status.items()
        }
        return {"name": self.name, "rate": self.rate, "by_status": found}

    def row(self) -> list[str]:
        """Return the line of the table: counts, then latencies of answers and rejections."""
        counts = [len(self.of(status)) for status in (200, 429, 504)]
        waits = [[shot.answered - shot.due for shot in self.of(status)] for status in (200, 429)]
        latencies = [shown(percentile(wait, at)) for wait in waits for at in (50, 99)]
        own = percentile([shot.sent - shot.due for shot in self.shots if shot.sent], 99)
        return [
            *(self.name, f"{self.rate:.0f}", *map(str, counts), str(len(self.shots) - sum(counts))),
            *(*latencies, str(self.unsaid()), shown(own)),
        ]


COLUMNS = (
    *("phase", "requests/s", "answered", "429", "504", "other", "answered p50 ms", "answered p99 ms"),
    *("429 p50 ms", "429 p99 ms", "429 without Retry-After", "load itself late, p99 ms"),
)


def percentile(seconds: Sequence[float], at: float) -> float:
    """Return a percentile in milliseconds; of nothing it is not a number."""
    return float(np.percentile(seconds, at)) * 1e3 if seconds else float("nan")


def shown(milliseconds: float, unit: str = "") -> str:
    """Return a number ready to print."""
    return "none" if np.isnan(milliseconds) else f"{milliseconds:.1f}{unit}"


def saturate(fire: Fire, posts: Sequence[bytes], rate: float) -> tuple[Phase, Phase]:
    """Return what happened at the first rate, and at the lowest one that was too much."""
    first = phase = Phase(CLOSED, rate, fire(posts, rate))
    for _ in range(MOST_STEPS):
        if len(phase.of(429)) > REFUSED * len(phase.shots):
            break
        rate *= STEP
        phase = Phase(SATURATION, rate, fire(posts, rate))
    return first, Phase(SATURATION, phase.rate, phase.shots)


def measure(arguments: argparse.Namespace) -> list[Phase]:
    """Return what became of every request of each phase."""
    bundle, requests = open_bundle(arguments), read_trace(TWENTY_FACTS)
    plain = qa_posts(requests)
    hurried = qa_posts(requests, {"X-Timeout-Ms": str(arguments.deadline_ms)})
    with engram(arguments, bundle) as server, saved(plain) as file:

        def fire(posts: Sequence[bytes], rate: float) -> list[Shot]:
            print(f"{rate:.0f} requests/s", flush=True)
            return run_on(
                arguments.load_core,
                lambda: open_loop(server.port, posts, rate, arguments.seconds, PATIENCE_S),
            )

        closed_loop(file, server.port, 64, 1, arguments.load_core)
        rate = closed_loop(file, server.port, 64, arguments.seconds, arguments.load_core).throughput
        first, saturation = saturate(fire, plain, rate)
        twice = 2 * saturation.rate
        phases = [first, saturation, Phase(TWICE, twice, fire(plain, twice))]
        return [*phases, Phase(HURRIED, twice, fire(hurried, twice))]


def bars(phases: Sequence[Phase], deadline_ms: float) -> list[list[str]]:
    """Return what was promised, what was found, and whether it holds."""
    first, saturation, twice, hurried = phases
    late, rejected = hurried.late_p999_ms(deadline_ms), max(twice.p99_ms(429), hurried.p99_ms(429))
    growth = twice.p99_ms(200) / saturation.p99_ms(200)
    unsaid = sum(phase.unsaid() for phase in phases)
    return [
        ["answers at the deadline, p99.9 late", shown(late, " ms"), "50 ms", verdict(not late > 50)],
        ["rejections, p99", shown(rejected, " ms"), "20 ms", verdict(rejected < 20)],
        ["rejections without Retry-After", str(unsaid), "0", verdict(not unsaid)],
        ["answered, p99 over that at saturation", f"{growth:.2f}", "1.5", verdict(growth <= 1.5)],
        [
            "answered, p99 over that at the closed-loop rate",
            f"{twice.p99_ms(200) / first.p99_ms(200):.2f}",
            "",
            "",
        ],
    ]


def verdict(holds: bool) -> str:
    """Return a word for it."""
    return "yes" if holds else "no"


def main() -> None:
    """Measure and write the result."""
    options = parser(MODULE, __doc__, seconds=10)
    options.add_argument("--deadline-ms", type=int, default=30, help="deadline of the last phase (30)")
    arguments = options.parse_args()
    phases = measure(arguments)
    tables = [
        Table("Bars", ("what", "found", "at most", "holds"), bars(phases, arguments.deadline_ms)),
        Table("Open loop", COLUMNS, [phase.row() for phase in phases]),
    ]
    about = {"deadline": f"{arguments.deadline_ms} ms", **about_bundle(open_bundle(arguments))}
    numbers = {"phases": [phase.numbers() for phase in phases]}
    write(MODULE, about, tables, numbers, arguments.results)


if __name__ == "__main__":
    main()
