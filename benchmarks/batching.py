"""Stories of 5 to 70 facts at saturation: how full the batches are and how much of them is padding.

The counts come from the tensors that reach the graph. Fill is padded cells over the budget of a batch
(ENGRAM_MAX_BATCH_COST), waste is padded over real cells, less one. Takes seconds.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from benchmarks.closed_loop import closed_loop, saved
from benchmarks.options import open_bundle, parser
from benchmarks.report import Table, about_bundle, write
from benchmarks.serving import observed, observed_engram
from benchmarks.traces import MIXED, qa_posts, read_trace
from server.contract.bundle import Bundle
from server.settings import Settings

MODULE = "benchmarks.batching"
CONNECTIONS = (16, 64, 256)


def measure(arguments: argparse.Namespace, bundle: Bundle) -> list[dict[str, Any]]:
    """Return for each number of connections the load and what ran."""
    found = []
    with observed_engram(arguments, bundle) as server, saved(qa_posts(read_trace(MIXED))) as posts:
        closed_loop(posts, server.port, 64, 1, arguments.load_core)
        for count in CONNECTIONS:
            before = observed(server)
            load = closed_loop(posts, server.port, count, arguments.seconds, arguments.load_core)
            ran = {name: total - before[name] for name, total in observed(server).items()}
            found.append({"connections": count, **asdict(load), **ran})
    return found


def row(found: dict[str, Any], budget: int) -> list[str]:
    """Return one line of the table."""
    return [
        str(found["connections"]),
        f"{found['throughput']:.0f}",
        f"{found['p50_ms']:.1f}",
        f"{found['p99_ms']:.1f}",
        f"{found['requests'] / found['batches']:.1f}",
        f"{found['padded'] / found['batches'] / budget:.2f}",
        f"{found['padded'] / found['real'] - 1:.0%}",
    ]


def main() -> None:
    """Measure and write the result."""
    arguments = parser(MODULE, __doc__, seconds=5).parse_args()
    bundle, budget = open_bundle(arguments), int(Settings.model_fields["max_batch_cost"].default)
    found = measure(arguments, bundle)
    columns = ("connections", "requests/s", "p50 ms", "p99 ms", "requests a batch", "fill", "waste")
    table = Table("Mixed lengths at saturation", columns, [row(one, budget) for one in found])
    about = {"trace": MIXED, "budget": f"{budget} cells a batch", **about_bundle(bundle)}
    write(MODULE, about, [table], {"loads": found}, arguments.results)


if __name__ == "__main__":
    main()
