"""From loads to tables: throughput and latency of every server, and the ratios to ours, pair by pair."""

from __future__ import annotations

from statistics import median

from benchmarks.closed_loop import Load
from benchmarks.peers.catalogue import PEERS
from benchmarks.report import Table, ratios, spread
from benchmarks.traces import MIXED, TWENTY_FACTS

OURS = "engram"

Cell = tuple[str, int]
"""What is measured at a time: a trace and a number of connections."""

CELLS: tuple[Cell, ...] = ((TWENTY_FACTS, 1), (TWENTY_FACTS, 16), (TWENTY_FACTS, 64), (MIXED, 64))

Loads = dict[str, dict[Cell, list[Load]]]
"""By server and cell, one load for each repeat."""

COLUMNS = ("server", "requests/s", "ratio", "p50 ms", "p99 ms", "failures")


def tables(loads: Loads) -> list[Table]:
    """Return a table for each cell, the fastest server first, and one that says how the peers are set."""
    settings = [[peer.name, peer.window] for peer in PEERS if peer.name in loads]
    return [
        *(_table(loads, cell) for cell in CELLS),
        Table("How the peers are set", ("server", "window"), settings),
    ]


def _table(loads: Loads, cell: Cell) -> Table:
    trace, connections = cell
    found = {name: cells[cell] for name, cells in loads.items()}
    order = sorted(found, key=lambda name: -median(_throughputs(found[name])))
    rows = [_row(name, found[name], found[OURS]) for name in order]
    return Table(f"{trace}, connections: {connections}", COLUMNS, rows)


def _row(name: str, repeats: list[Load], ours: list[Load]) -> list[str]:
    throughputs = _throughputs(repeats)
    answers_always = all(throughput > 0 for throughput in throughputs)
    ratio = spread(ratios(_throughputs(ours), throughputs)) if name != OURS and answers_always else ""
    return [
        name,
        spread(throughputs, 0),
        ratio,
        spread([load.p50_ms for load in repeats]),
        spread([load.p99_ms for load in repeats]),
        str(sum(load.failures for load in repeats)),
    ]


def _throughputs(repeats: list[Load]) -> list[float]:
    return [load.throughput for load in repeats]
