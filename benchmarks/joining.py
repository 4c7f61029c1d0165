"""Answers of mixed lengths, step by step: joining a running batch against batches that stay as they began.

All requests wait at the start. *Joining* is the server's ``Decoder``: who is finished leaves, and who waits
takes the place. *Leaving* runs batches of those that came together, and the finished ones leave. *Static*
runs each such batch in full until its longest answer is finished. The graph is a made-up decoder of the size
of a small translation model; an answer has 3 to 60 words. In process, on one core, counted in seconds and in
processor seconds, which other work on the machine disturbs less. Takes a minute.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean

import numpy as np

from benchmarks.decoder_graph import Decoding, Sentence, made_up_bundle, open_sessions
from benchmarks.machine import pinned
from benchmarks.options import parser
from benchmarks.report import Table, ratios, spread, write
from server.errors import RunError
from server.runtime.lines import Priority
from server.runtime.options import RuntimeOptions
from server.runtime.stepwise.decoder import Decoder
from server.runtime.stepwise.steps import Walk
from server.runtime.stepwise.walker import Walker
from server.runtime.stepwise.wiring import Wiring

MODULE = "benchmarks.joining"
REQUESTS, BATCH_SIZE = 256, 16
SEED = 7


@dataclass(frozen=True)
class Outcome:
    """Seconds from the start to each answer, and processor seconds of all."""

    times: Sequence[float]
    processor_s: float


@dataclass(frozen=True)
class Contest:
    """The same requests for every way of running them."""

    requests: Sequence[Sentence]
    batch_size: int

    def joining(self) -> Outcome:
        """Hand all to the server's queue."""
        return asyncio.run(self._join())

    async def _join(self) -> Outcome:
        task, bundle = Decoding(), made_up_bundle()
        options = RuntimeOptions(max_batch_size=self.batch_size, max_batch_cost=10**6, max_queue_cost=10**9)
        decoder = Decoder([open_sessions()], task, bundle, options)
        started, processor = time.perf_counter(), time.process_time()

        async def ask(request: Sentence) -> float:
            await decoder.run(task.prepare(request, bundle), None, priority=Priority.BATCH)
            return time.perf_counter() - started

        times = await asyncio.gather(*map(ask, self.requests))
        spent = time.process_time() - processor
        await decoder.close()
        return Outcome(times, spent)

    def leaving(self) -> Outcome:
        """Walk one batch after the other; the finished ones leave it."""
        return self._walk(lambda walks: [walk for walk in walks if not walk.search.finished])

    def static(self) -> Outcome:
        """Walk one batch after the other, all of it to the end of its longest."""
        return self._walk(lambda walks: walks if not all(walk.search.finished for walk in walks) else [])

    def _walk(self, going: Callable[[list[Walk]], list[Walk]]) -> Outcome:
        task, bundle = Decoding(), made_up_bundle()
        wiring = Wiring.of(bundle.manifest)
        options = RuntimeOptions(max_batch_size=self.batch_size, max_batch_cost=10**6)
        walker = Walker(open_sessions(), wiring, task, bundle, options)
        times: list[float] = []
        started, processor = time.perf_counter(), time.process_time()
        for first in range(0, len(self.requests), self.batch_size):
            batch = self.requests[first : first + self.batch_size]
            begun = walker.begin([wiring.newcomer(task.prepare(request, bundle)) for request in batch])
            walks = [walk for walk in begun if not isinstance(walk, RunError)]
            ended: dict[int, float] = {}
            live = walks
            while live := going(live):
                walker.step(live)
                now = time.perf_counter() - started
                ended |= {id(walk): now for walk in live if walk.search.finished and id(walk) not in ended}
            times += ended.values()
        return Outcome(times, time.process_time() - processor)


def made_up_requests(count: int) -> list[Sentence]:
    """Draw sentences: most are short, some are long, and an answer is about as long as its question."""
    random = np.random.default_rng(SEED)
    lengths = np.clip(random.lognormal(2.5, 0.6, count), 3, 50).astype(int)
    answers = np.clip(lengths * random.uniform(0.8, 1.2, count), 3, 60).astype(int)
    return [
        Sentence(random.integers(2, 4_000, length).tolist(), words)
        for length, words in zip(lengths.tolist(), answers.tolist(), strict=True)
    ]


def main() -> None:
    """Measure and write the result."""
    arguments = parser(MODULE, __doc__, repeats=5).parse_args()
    contest = Contest(made_up_requests(REQUESTS), BATCH_SIZE)
    ways = {"joining": contest.joining, "leaving": contest.leaving, "static": contest.static}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    costs: dict[str, list[float]] = {name: [] for name in ways}
    waits: dict[str, list[float]] = {name: [] for name in ways}
    with pinned(arguments.server_core):
        for _ in range(arguments.repeats):
            for name, way in ways.items():
                outcome = way()
                costs[name].append(outcome.processor_s / REQUESTS * 1e3)
                rates[name].append(REQUESTS / max(outcome.times))
                waits[name].append(mean(outcome.times))
    rows = [
        [
            name,
            spread(rates[name], 1),
            spread(ratios(rates["joining"], rates[name])),
            spread(costs[name]),
            spread(ratios(costs[name], costs["joining"])),
            spread(waits[name]),
        ]
        for name in ways
    ]
    columns = (
        "way",
        "answers/s",
        "joining against it",
        "processor ms an answer",
        "joining against it",
        "mean s to an answer",
    )
    words = [request.words for request in contest.requests]
    about = {
        "requests": f"{REQUESTS}, answers of {min(words)} to {max(words)} words, mean {mean(words):.1f}",
        "batch": f"at most {BATCH_SIZE} requests",
    }
    table = Table("Joining a running batch", columns, rows)
    write(
        MODULE,
        about,
        [table],
        {"answers_per_s": rates, "processor_ms": costs, "mean_s": waits},
        arguments.results,
    )


if __name__ == "__main__":
    main()
