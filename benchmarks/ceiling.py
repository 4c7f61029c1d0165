"""How much of what one core can answer arrives over HTTP: POST /v1/qa, attention in full, against its
ceiling.

The ceiling is prepare + run + interpret in this process, with the server's own functions, in batches of the
best of several sizes. In each repeat ceiling and server are measured one after the other, on the same core,
while the load comes from another. The share is the ratio of such a pair. Takes about two minutes.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict

from benchmarks.closed_loop import Load, closed_loop, saved
from benchmarks.in_process import InProcess
from benchmarks.machine import pinned
from benchmarks.options import open_bundle, parser
from benchmarks.report import Table, about_bundle, ratios, spread, write
from benchmarks.serving import engram
from benchmarks.traces import TWENTY_FACTS, qa_posts, read_trace
from server.contract.bundle import Bundle

MODULE = "benchmarks.ceiling"
CONNECTIONS = (1, 16, 64)
BATCH_SIZES = (1, 8, 16, 32)
CEILING_SECONDS = 1.0

Rates = tuple[float, float, float]
"""Requests a second of run, of prepare + run + interpret, and of that with JSON on both sides."""


def measure(
    arguments: argparse.Namespace, bundle: Bundle
) -> tuple[list[dict[int, Load]], list[dict[int, Rates]]]:
    """Return for each repeat the loads by connections and the rates in process by batch size."""
    requests = read_trace(TWENTY_FACTS)
    inside = InProcess(bundle, requests)
    loads, ceilings = [], []
    with saved(qa_posts(requests)) as posts, engram(arguments, bundle) as server:
        closed_loop(posts, server.port, max(CONNECTIONS), 1, arguments.load_core)
        for repeat in range(arguments.repeats):
            print(f"repeat {repeat + 1} of {arguments.repeats}", flush=True)
            with pinned(arguments.server_core):
                ceilings.append({size: _rates(inside, size) for size in BATCH_SIZES})
            loads.append(
                {
                    count: closed_loop(posts, server.port, count, arguments.seconds, arguments.load_core)
                    for count in CONNECTIONS
                }
            )
    return loads, ceilings


def _rates(inside: InProcess, size: int) -> Rates:
    return (
        inside.run_rate(size, CEILING_SECONDS / 2),
        inside.answer_rate(size, CEILING_SECONDS),
        inside.json_rate(size, CEILING_SECONDS / 2),
    )


def tables(loads: list[dict[int, Load]], ceilings: list[dict[int, Rates]]) -> list[Table]:
    """Return the server's throughput beside its ceiling, and the ceiling by batch size."""
    best = [max(answer for _, answer, _ in ceiling.values()) for ceiling in ceilings]
    served = []
    for count in CONNECTIONS:
        ours = [load[count] for load in loads]
        served.append(
            [
                str(count),
                spread([load.throughput for load in ours], 0),
                spread(ratios([load.throughput for load in ours], best)),
                spread([load.p50_ms for load in ours]),
                spread([load.p99_ms for load in ours]),
                str(sum(load.failures for load in ours)),
            ]
        )
    inside = [
        [str(size), *(spread([ceiling[size][step] for ceiling in ceilings], 0) for step in range(3))]
        for size in BATCH_SIZES
    ]
    columns = ("connections", "requests/s", "share of the ceiling", "p50 ms", "p99 ms", "failures")
    steps = ("batch size", "run", "prepare + run + interpret", "the same with JSON in and out")
    return [
        Table("POST /v1/qa, attention in full, 20 facts", columns, served),
        Table("In process, requests/s", steps, inside),
    ]


def main() -> None:
    """Measure and write the result."""
    arguments = parser(MODULE, __doc__, repeats=5, seconds=3).parse_args()
    bundle = open_bundle(arguments)
    loads, ceilings = measure(arguments, bundle)
    numbers = {
        "loads": [{str(count): asdict(load) for count, load in repeat.items()} for repeat in loads],
        "ceilings": [{str(size): rates for size, rates in repeat.items()} for repeat in ceilings],
    }
    context = {
        "trace": TWENTY_FACTS,
        "spread": f"median (smallest to largest) of {arguments.repeats} repeats",
        **about_bundle(bundle),
    }
    write(MODULE, context, tables(loads, ceilings), numbers, arguments.results)


if __name__ == "__main__":
    main()
