"""Stories of 5 to 70 facts at saturation: how full the batches are, how much is padding, and what it brings.

For each budget of a batch (ENGRAM_MAX_BATCH_COST) the server answers 16 and 64 connections. The counts come
from the tensors that reach the graph: fill is padded cells over the budget, waste is padded over real cells,
less one. Takes a minute or two.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.closed_loop import closed_loop, saved
from benchmarks.options import open_bundle, parser
from benchmarks.report import Table, about_bundle, write
from benchmarks.serving import observed, observed_engram
from benchmarks.traces import MIXED, qa_posts, read_trace
from server.contract.bundle import Bundle
from server.settings import Settings

MODULE = "benchmarks.batching"
CONNECTIONS = (16, 64)
DEFAULT = int(Settings.model_fields["max_batch_cost"].default)


def measure(arguments: argparse.Namespace, bundle: Bundle) -> list[dict[str, Any]]:
    """Return for each budget and number of connections the load and what ran."""
    with saved(qa_posts(read_trace(MIXED))) as posts:
        return [
            {"budget": budget, "repeat": repeat, **found}
            for repeat in range(arguments.repeats)
            for budget in arguments.budgets
            for found in loads(arguments, bundle, budget, posts)
        ]


def loads(arguments: argparse.Namespace, bundle: Bundle, budget: int, posts: Path) -> list[dict[str, Any]]:
    """Return what ran with one budget."""
    found = []
    with observed_engram(arguments, bundle, max_batch_cost=budget) as server:
        closed_loop(posts, server.port, 64, 1, arguments.load_core)
        for count in CONNECTIONS:
            before = observed(server)
            load = closed_loop(posts, server.port, count, arguments.seconds, arguments.load_core)
            ran = {name: total - before[name] for name, total in observed(server).items()}
            found.append({"connections": count, **asdict(load), **ran})
    return found


def row(found: dict[str, Any]) -> list[str]:
    """Return one line of the table."""
    return [
        str(found["budget"]),
        str(found["connections"]),
        f"{found['throughput']:.0f}",
        f"{found['p50_ms']:.1f}",
        f"{found['p99_ms']:.1f}",
        f"{found['requests'] / found['batches']:.1f}",
        f"{found['padded'] / found['batches'] / found['budget']:.2f}",
        f"{found['padded'] / found['real'] - 1:.0%}",
    ]


COLUMNS = ("budget", "connections", "requests/s", "p50 ms", "p99 ms", "requests a batch", "fill", "waste")


def main() -> None:
    """Measure and write the result."""
    options = parser(MODULE, __doc__, seconds=5, repeats=1)
    budgets = [DEFAULT // 2, DEFAULT, 2 * DEFAULT, 4 * DEFAULT]
    options.add_argument(
        "--budgets",
        type=int,
        nargs="+",
        default=budgets,
        help=f"cells of a batch ({budgets}, {DEFAULT} is the default)",
    )
    arguments = options.parse_args()
    bundle = open_bundle(arguments)
    found = measure(arguments, bundle)
    table = Table("Mixed lengths at saturation", COLUMNS, [row(one) for one in found])
    about = {"trace": MIXED, "default budget": f"{DEFAULT} cells a batch", **about_bundle(bundle)}
    write(MODULE, about, [table], {"loads": found}, arguments.results)


if __name__ == "__main__":
    main()
