"""Batches that outlive their connection: what they cost, and what people notice who ask meanwhile.

In each repeat a batch is answered by ``/v1/qa/batch`` and by ``/v1/batches``, submission, storage and waiting
included; then single questions come at random moments, first alone and then while a batch of 20,000 lines
runs. At last the memory of a server that receives and works on such a batch. Takes two minutes or three.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.machine import rss_mb
from benchmarks.open_loop import open_loop, run_on
from benchmarks.options import open_bundle, parser
from benchmarks.overload import percentile, shown, verdict
from benchmarks.processes import Server
from benchmarks.report import Table, about_bundle, ratios, spread, write
from benchmarks.serving import engram
from benchmarks.traces import TWENTY_FACTS, Request, qa_posts, read_trace

MODULE = "benchmarks.batches"

LINES = 3_000
"""Lines of the batches that are timed."""

LARGE = 20_000
"""Lines of the batch that runs while people ask, and whose memory is taken."""

TOGETHER = 1_000
"""Items of one request to ``/v1/qa/batch``."""

RATE = 100.0
"""Questions a second, which the server could answer many times over."""

PATIENCE_S = 35.0

BAR = 2.0
"""How many times as long the slowest of a hundred questions may take while a batch runs."""


@dataclass(frozen=True)
class Repeat:
    """What one repeat has found: lines a second by either way, and latencies in milliseconds."""

    together: float
    durable: float
    alone_p50: float
    alone_p99: float
    meanwhile_p50: float
    meanwhile_p99: float


@dataclass(frozen=True)
class Memory:
    """Resident megabytes of the server: before, the most while it received the batch, the most at all."""

    before: float
    received: float
    worked: float


def main() -> None:
    """Measure and write the result."""
    options = parser(MODULE, __doc__, repeats=5, seconds=5)
    options.add_argument("--rate", type=float, default=RATE, help=f"questions a second ({RATE:g})")
    arguments = options.parse_args()
    bundle, trace = open_bundle(arguments), read_trace(TWENTY_FACTS)
    with TemporaryDirectory() as folder, ExitStack() as stack:
        file = Path(folder) / "batches.sqlite3"
        server = stack.enter_context(engram(arguments, bundle, "--batch-file", str(file)))
        memory = measure_memory(server, trace)
        repeats = [measure(server, trace, arguments) for _ in range(arguments.repeats)]
    about = {"rate": f"{arguments.rate:g} questions/s for {arguments.seconds} s", **about_bundle(bundle)}
    write(MODULE, about, tables(repeats, memory), numbers(repeats, memory), arguments.results)


def measure(server: Server, trace: Sequence[Request], arguments: argparse.Namespace) -> Repeat:
    """Take one repeat."""
    posts = qa_posts(list(trace))

    def ask() -> list[float]:
        shots = run_on(
            arguments.load_core,
            lambda: open_loop(server.port, posts, arguments.rate, arguments.seconds, PATIENCE_S),
        )
        failed = [shot.status for shot in shots if shot.status != 200]
        if failed:
            raise SystemExit(f"{len(failed)} of {len(shots)} questions were not answered: {failed[:5]}")
        return [shot.answered - shot.due for shot in shots]

    together, durable = LINES / answer_together(server, trace), LINES / answer_durably(server, trace)
    alone = ask()
    batch = submit(server, trace, LARGE)
    time.sleep(1.0)  # the batch has begun
    meanwhile = ask()
    if status_of(server, batch)["state"] != "running":
        raise SystemExit("the batch was over before the questions were: give fewer seconds")
    server.request("DELETE", f"/v1/batches/{batch}")
    time.sleep(1.0)
    found = [percentile(waits, at) for waits in (alone, meanwhile) for at in (50, 99)]
    print(f"{together:.0f} and {durable:.0f} lines/s, p99 {found[1]:.1f} and {found[3]:.1f} ms", flush=True)
    return Repeat(together, durable, *found)


def answer_together(server: Server, trace: Sequence[Request]) -> float:
    """Return the seconds that ``/v1/qa/batch`` takes for ``LINES``."""
    body = json.dumps({"requests": [trace[place % len(trace)] for place in range(TOGETHER)]}).encode()
    began = time.perf_counter()
    for _ in range(LINES // TOGETHER):
        status, answer = server.post("/v1/qa/batch", body)
        if status != 200:
            raise SystemExit(f"a batch was answered {status}: {answer.decode()}")
    return time.perf_counter() - began


def answer_durably(server: Server, trace: Sequence[Request]) -> float:
    """Return the seconds from the submission of ``LINES`` to the end of their batch."""
    began = time.perf_counter()
    batch = submit(server, trace, LINES)
    while (status := status_of(server, batch))["state"] in {"queued", "running"}:
        time.sleep(0.02)
    if status["done"] != LINES:
        raise SystemExit(f"the batch is not as it should be: {status}")
    return time.perf_counter() - began


def measure_memory(server: Server, trace: Sequence[Request]) -> Memory:
    """Return the memory of the server while a large batch comes and while it is worked on."""
    answer_durably(server, trace)  # the database is in memory, and every size of run was seen
    [pid] = server.pids()
    before = rss_mb([pid])
    batch = submit(server, trace, LARGE)
    received = most = rss_mb([pid])
    for _ in range(20):
        time.sleep(0.25)
        most = max(most, rss_mb([pid]))
    server.request("DELETE", f"/v1/batches/{batch}")
    return Memory(before, received, most)


def submit(server: Server, trace: Sequence[Request], count: int) -> str:
    """Submit a batch and return its id."""
    lines = (json.dumps({"id": place, **trace[place % len(trace)]}) for place in range(count))
    status, answer = server.post("/v1/batches?task=qa", "\n".join(lines).encode())
    if status != 202:
        raise SystemExit(f"a batch was answered {status}: {answer.decode()}")
    return str(json.loads(answer)["id"])


def status_of(server: Server, batch: str) -> dict[str, Any]:
    """Return how far a batch is."""
    _, answer = server.request("GET", f"/v1/batches/{batch}")
    status: dict[str, Any] = json.loads(answer)
    return status


def tables(repeats: Sequence[Repeat], memory: Memory) -> list[Table]:
    """Return the result as it is read."""
    columns = {name: [getattr(each, name) for each in repeats] for name in asdict(repeats[0])}
    share = ratios(columns["durable"], columns["together"])
    slower = ratios(columns["meanwhile_p99"], columns["alone_p99"])
    grown = memory.worked - memory.before
    return [
        Table(
            "Bar",
            ("what", "found", "at most", "holds"),
            [
                [
                    "p99 while a batch runs, over p99 alone",
                    spread(slower),
                    f"{BAR:g}",
                    verdict(median(slower) <= BAR),
                ]
            ],
        ),
        Table(
            "Lines a second",
            ("way", "lines/s", "share"),
            [
                ["POST /v1/qa/batch", spread(columns["together"], 0), ""],
                ["POST /v1/batches", spread(columns["durable"], 0), spread(share)],
            ],
        ),
        Table(
            "Single questions",
            ("while", "p50 ms", "p99 ms"),
            [
                [what, spread(columns[f"{name}_p50"]), spread(columns[f"{name}_p99"])]
                for what, name in (("nothing else runs", "alone"), ("a batch runs", "meanwhile"))
            ],
        ),
        Table(
            f"Memory of a batch of {LARGE:,} lines",
            ("before", "received", "most while worked on", "grown"),
            [[shown(each, " MB") for each in (memory.before, memory.received, memory.worked, grown)]],
        ),
    ]


def numbers(repeats: Sequence[Repeat], memory: Memory) -> dict[str, Any]:
    """Return every single measurement."""
    return {"repeats": [asdict(each) for each in repeats], "memory_mb": asdict(memory)}


if __name__ == "__main__":
    main()
