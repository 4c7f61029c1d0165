"""Memory of the serving process: after its start, after 1,000 requests, and, if asked, over a long soak.

PSS counts shared pages in equal parts for every process that maps them. The soak sends stories of mixed
lengths at saturation and compares the resident memory of minute 3 with that of the last one. Takes seconds,
and the minutes of the soak.
"""

from __future__ import annotations

import argparse
import time

from benchmarks.closed_loop import closed_loop, saved
from benchmarks.machine import pss_mb, rss_mb
from benchmarks.options import open_bundle, parser
from benchmarks.processes import Server
from benchmarks.report import Table, about_bundle, write
from benchmarks.serving import engram
from benchmarks.traces import MIXED, TWENTY_FACTS, Request, qa_posts, read_trace

MODULE = "benchmarks.memory"
REQUESTS = 1_000
SETTLED_MINUTE = 3
"""By then every size of batch has been seen; what grows after it grows for ever."""

BAR = 1.02


def ask(server: Server, requests: list[Request]) -> None:
    """Send ``REQUESTS`` requests, one after the other.

    Raises:
        SystemExit: one was not answered.
    """
    posts = [post.partition(b"\r\n\r\n")[2] for post in qa_posts(requests)]
    for place in range(REQUESTS):
        status, body = server.post("/v1/qa", posts[place % len(posts)])
        if status != 200:
            raise SystemExit(f"request {place} was answered {status}: {body.decode()}")


def soak(server: Server, minutes: int, core: int) -> list[float]:
    """Return the resident memory at the end of every minute of mixed lengths at saturation."""
    found = []
    with saved(qa_posts(read_trace(MIXED))) as posts:
        for minute in range(1, minutes + 1):
            closed_loop(posts, server.port, 64, 60, core)
            found.append(rss_mb(server.pids()))
            print(f"minute {minute}: {found[-1]:.1f} MB", flush=True)
    return found


def growth(minutes: list[float]) -> str:
    """Return what the soak says."""
    if len(minutes) <= SETTLED_MINUTE:
        return "too short to tell"
    last, settled = minutes[-1], minutes[SETTLED_MINUTE - 1]
    return (
        f"minute {SETTLED_MINUTE} is {settled:.1f} MB, minute {len(minutes)} is {last:.1f} MB: "
        f"{last / settled:.3f} times as much, at most {BAR} are allowed"
    )


def measure(arguments: argparse.Namespace) -> None:
    """Measure and write the result."""
    bundle = open_bundle(arguments)
    rows, numbers = [], {}
    with engram(arguments, bundle) as server:
        time.sleep(1)
        numbers["after the start"] = pss_mb(server.pids())
        for name in (TWENTY_FACTS, MIXED):
            ask(server, read_trace(name))
            numbers[f"after {REQUESTS} requests of {name}"] = pss_mb(server.pids())
        rows = [[moment, f"{megabytes:.1f}"] for moment, megabytes in numbers.items()]
        minutes = soak(server, arguments.soak_minutes, arguments.load_core)
    tables = [Table("Memory of the serving process", ("moment", "PSS in MB"), rows)]
    if minutes:
        soaked = [[str(minute), f"{megabytes:.1f}"] for minute, megabytes in enumerate(minutes, 1)]
        tables.append(Table(f"Soak: {growth(minutes)}", ("minute", "RSS in MB"), soaked))
    about = {"processes": "one", **about_bundle(bundle)}
    write(MODULE, about, tables, {"pss_mb": numbers, "soak_mb": minutes}, arguments.results)


def main() -> None:
    """Read the command line and measure."""
    options = parser(MODULE, __doc__)
    options.add_argument(
        "--soak-minutes", type=int, default=0, metavar="N", help="length of the soak (0: none)"
    )
    measure(options.parse_args())


if __name__ == "__main__":
    main()
