"""At twice saturation: how soon are rejections told, how late are deadlines, what becomes of the accepted.

Saturation is what a closed loop of 64 connections reaches. Then requests come in an open loop: at that rate,
at twice that rate, and at twice that rate with a deadline that most cannot meet. Latencies count from the
moment a request was due, deadlines from the moment it was sent. Takes about a minute.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict

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


def measure(arguments: argparse.Namespace) -> tuple[float, dict[str, list[Shot]]]:
    """Return the rate at saturation and what became of every request of each phase."""
    bundle, requests = open_bundle(arguments), read_trace(TWENTY_FACTS)
    plain = qa_posts(requests)
    hurried = qa_posts(requests, {"X-Timeout-Ms": str(arguments.deadline_ms)})
    options = ["--max-queue-cost", str(arguments.max_queue_cost)] if arguments.max_queue_cost else []
    with engram(arguments, bundle, *options) as server, saved(plain) as file:
        closed_loop(file, server.port, 64, 1, arguments.load_core)
        rate = closed_loop(file, server.port, 64, arguments.seconds, arguments.load_core).throughput
        phases = {"saturation": (plain, rate), "twice": (plain, 2 * rate), "deadlines": (hurried, 2 * rate)}
        found = {}
        for name, (posts, wanted) in phases.items():
            print(f"{name}: {wanted:.0f} requests/s", flush=True)
            found[name] = run_on(
                arguments.load_core,
                lambda posts=posts, wanted=wanted: open_loop(  # type: ignore[misc]
                    server.port, posts, wanted, arguments.seconds, PATIENCE_S
                ),
            )
    return rate, found


def percentiles(seconds: Sequence[float]) -> list[str]:
    """Return p50, p99 and p99.9 in milliseconds, ready to print."""
    if not seconds:
        return ["none"] * 3
    return [f"{value:.1f}" for value in np.percentile(seconds, (50, 99, 99.9)) * 1e3]


def late(shots: Sequence[Shot], deadline_ms: float) -> list[float]:
    """Return how many seconds after its deadline each expired request was told so."""
    return [shot.answered - shot.sent - deadline_ms / 1e3 for shot in shots if shot.status == 504]


def row(name: str, shots: Sequence[Shot]) -> list[str]:
    """Return the row of one phase: counts, then latencies of accepted and rejected requests."""
    counts = [str(sum(shot.status == status for shot in shots)) for status in (200, 429, 504)]
    other = sum(shot.status not in (200, 429, 504) for shot in shots)
    latencies = {
        status: [shot.answered - shot.due for shot in shots if shot.status == status] for status in (200, 429)
    }
    unsaid = sum(shot.status == 429 and not shot.has_retry_after for shot in shots)
    own = percentiles([shot.sent - shot.due for shot in shots if shot.sent])
    return [
        *(name, *counts, str(other), *percentiles(latencies[200])[:2], *percentiles(latencies[429])[:2]),
        *(str(unsaid), own[1]),
    ]


COLUMNS = (
    *("phase", "answered", "429", "504", "other", "answered p50 ms", "answered p99 ms"),
    *("429 p50 ms", "429 p99 ms", "429 without Retry-After", "load itself late, p99 ms"),
)


def main() -> None:
    """Measure and write the result."""
    options = parser(MODULE, __doc__, seconds=10)
    options.add_argument("--deadline-ms", type=int, default=250, help="deadline of the last phase (250)")
    options.add_argument("--max-queue-cost", type=int, help="the server's ENGRAM_MAX_QUEUE_COST")
    arguments = options.parse_args()
    rate, found = measure(arguments)
    lateness = percentiles(late(found["deadlines"], arguments.deadline_ms))
    tables = [
        Table(
            f"Open loop; saturation is {rate:.0f} requests/s",
            COLUMNS,
            [row(*phase) for phase in found.items()],
        ),
        Table(
            f"Deadline of {arguments.deadline_ms} ms: how late the 504 came",
            ("p50 ms", "p99 ms", "p99.9 ms"),
            [lateness],
        ),
    ]
    numbers = {
        "saturation": rate,
        "phases": {name: [list(asdict(shot).values()) for shot in shots] for name, shots in found.items()},
    }
    write(MODULE, about_bundle(open_bundle(arguments)), tables, numbers, arguments.results)


if __name__ == "__main__":
    main()
