"""Requests whose client left while they waited: how many ran nevertheless.

A burst of requests fills the queue, others follow, and their clients close their connections at once; the
burst ahead of them takes far longer than the 50 ms that the server has to notice. What ran is counted at the
graph. Takes seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence

from benchmarks.open_loop import Connections, Shot, run_on
from benchmarks.options import open_bundle, parser
from benchmarks.report import Table, about_bundle, write
from benchmarks.serving import observed, observed_engram
from benchmarks.traces import TWENTY_FACTS, qa_posts, read_trace

MODULE = "benchmarks.abandoned"
PATIENCE_S = 35.0

QUEUE_MS = 30_000
"""The longest wait that is let in for: nobody may be refused here, or there would be nothing to abandon."""


async def burst(port: int, posts: Sequence[bytes], patient: int, leaving: int) -> tuple[list[Shot], float]:
    """Send ``patient`` requests, then ``leaving`` ones whose clients leave.

    Returns:
        What became of the patient ones, and the seconds between the last departure and the last answer.
    """
    loop = asyncio.get_running_loop()
    async with Connections(port) as connections:
        opened = [await connections.open() for _ in range(patient + leaving)]
        shots = [Shot(loop.time()) for _ in opened]
        for place, (connection, shot) in enumerate(zip(opened, shots, strict=True)):
            connection.send(shot, posts[place % len(posts)])
        await asyncio.sleep(0)
        for connection in opened[patient:]:
            connection.close()
        left = loop.time()
        await connections.until_quiet(PATIENCE_S)
    waiting = shots[:patient]
    return waiting, max(shot.answered for shot in waiting) - left


def measure(arguments: argparse.Namespace) -> list[dict[str, float]]:
    """Return for each repeat how many left, how many of them ran, and how long the server had to notice."""
    bundle, posts = open_bundle(arguments), qa_posts(read_trace(TWENTY_FACTS))
    found = []
    with observed_engram(arguments, bundle, max_queue_ms=QUEUE_MS) as server:
        for _ in range(arguments.repeats):
            before = observed(server)["requests"]
            shots, margin_s = run_on(
                arguments.load_core,
                lambda: burst(server.port, posts, arguments.patient, arguments.leaving),
            )
            time.sleep(0.5)  # whatever still waits runs now
            ran = observed(server)["requests"] - before
            answered = sum(shot.status == 200 for shot in shots)
            found.append({"left": arguments.leaving, "ran": ran - answered, "margin_ms": margin_s * 1e3})
    return found


def main() -> None:
    """Measure and write the result."""
    options = parser(MODULE, __doc__, repeats=5)
    options.add_argument("--patient", type=int, default=300, help="requests that fill the queue (300)")
    options.add_argument("--leaving", type=int, default=500, help="requests whose clients leave (500)")
    arguments = options.parse_args()
    found = measure(arguments)
    rows = [
        [f"{one['left']}", f"{one['ran']}", f"{one['ran'] / one['left']:.1%}", f"{one['margin_ms']:.0f}"]
        for one in found
    ]
    columns = ("clients that left", "ran nevertheless", "share", "ms of work ahead of them, at least")
    table = Table("Abandoned requests", columns, rows)
    write(MODULE, about_bundle(open_bundle(arguments)), [table], {"repeats": found}, arguments.results)


if __name__ == "__main__":
    main()
