"""The work on batches: every line gets one result, whatever answers, ends or cannot be stored."""

import asyncio
import logging
from collections import Counter

import pytest

from server.batches.pace import POLITE_S, Pace
from server.batches.records import BatchCounts, Result
from server.batches.runner import Runner
from server.batches.threads import Threads
from server.errors import ExecutorLost, ModelNotReady, Overloaded, ShuttingDown, StorageFull
from tests.server.batches.conftest import LEASE_S
from tests.server.fakes import until


class Answerer:
    """Answers lines by their number; ``trouble`` has errors that come first, ``gate`` holds answers back."""

    def __init__(self):
        self.trouble = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.seen = Counter()
        self.running = self.most = 0

    async def answer(self, task, line):
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0)
            await self.gate.wait()
        finally:
            self.running -= 1
        self.seen[line.number] += 1
        if self.trouble.get(line.number):
            raise self.trouble[line.number].pop(0)
        return Result(line.number, b'{"index": %d}' % line.number, failed=line.number == 13)

    def give_up(self, line, why):
        return Result(line.number, why.encode(), failed=True)


@pytest.fixture
async def answerer():
    return Answerer()


@pytest.fixture
async def start(store, answerer):
    """Start a runner, and stop it when the test is over."""
    threads, runners = Threads(), []

    def started(working=None, most=4):
        runner = Runner(working or store.working, threads, answerer, Pace(most, 1, int), BatchCounts())
        runner.start()
        runners.append(runner)
        return runner

    yield started
    for runner in runners:
        await runner.stop()
    threads.close()


async def ended(store, batch, seconds=30):
    states = []

    def has_ended():
        states.append(store.keeping.get("ada", batch.id))
        return not states[-1].is_open

    await until(has_ended, seconds)
    return states[-1]


async def test_every_line_gets_one_result(store, answerer, start):
    batch = store.submit(lines=40, part=6)
    start(most=4)
    found = await ended(store, batch)
    assert (found.state, found.done, found.failed) == ("done", 39, 1)
    assert store.results(batch) == list(range(40))
    assert answerer.seen == Counter(range(40))
    assert answerer.most == 4


async def test_work_that_comes_later_is_found(store, start):
    runner = start()
    await asyncio.sleep(0.05)
    batch = store.submit()
    runner.wake()
    assert (await ended(store, batch)).done == 6


async def test_several_runners_share_the_work(store, answerer, start):
    batch = store.submit(lines=60, part=3)
    for _ in range(3):
        start(store.process(), most=2)
    assert (await ended(store, batch)).total == 60
    assert answerer.seen == Counter(range(60))
    assert store.results(batch) == list(range(60))


async def test_what_may_pass_is_tried_again(store, answerer, start):
    batch = store.submit(lines=3)
    answerer.trouble = {0: [Overloaded("full", 0.01)] * 2, 1: [ExecutorLost("lost")], 2: []}
    start()
    assert (await ended(store, batch)).done == 3
    assert answerer.seen == Counter({0: 3, 1: 2, 2: 1})


async def test_a_line_that_loses_executors_again_and_again_is_given_up(store, answerer, start):
    batch = store.submit(lines=2)
    answerer.trouble = {1: [ExecutorLost("lost")] * 5}
    start()
    found = await ended(store, batch)
    assert (found.done, found.failed) == (1, 1)
    assert answerer.seen[1] == 3


async def test_a_batch_waits_for_its_model(store, answerer, start, clock, monkeypatch):
    batch = store.submit(lines=2, part=2)
    answerer.trouble = {1: [ModelNotReady("it is loading")]}
    monkeypatch.setattr("server.batches.runner.IDLE_S", 0.05)
    start()
    await until(lambda: store.keeping.get("ada", batch.id).reason == "it is loading")
    assert store.keeping.get("ada", batch.id).is_open
    clock.ahead = 10.0
    assert (await ended(store, batch)).done == 2
    assert answerer.seen[0] == 1  # it was stored before the part was handed back


async def test_a_runner_that_stops_hands_its_work_back(store, answerer, start):
    batch = store.submit(lines=9, part=3)
    answerer.gate.clear()
    runner = start(most=4)
    await until(lambda: answerer.running == 4)
    answerer.gate.set()
    await runner.stop()
    done = store.keeping.get("ada", batch.id).done
    assert done >= 4  # lines that ran have ended
    start(store.process())
    assert (await ended(store, batch)).done == 9
    assert answerer.seen == Counter(range(9))


async def test_a_model_that_closes_hands_its_work_back(store, answerer, start, monkeypatch):
    batch = store.submit(lines=2, part=2)
    answerer.trouble = {0: [ShuttingDown("closed")]}
    monkeypatch.setattr("server.batches.runner.IDLE_S", 0.05)
    start()
    assert (await ended(store, batch)).done == 2


async def test_results_wait_for_a_database_in_trouble(store, answerer, start, monkeypatch, caplog):
    monkeypatch.setattr("server.batches.runner.FIRST_WAIT_S", 0.01)
    caplog.set_level(logging.CRITICAL)
    batch = store.submit(lines=6)
    settle, failures = store.working.settle, [StorageFull("full")] * 3

    def settle_later(settlements):
        if failures:
            raise failures.pop()
        return settle(settlements)

    monkeypatch.setattr(store.working, "settle", settle_later)
    start()
    assert (await ended(store, batch)).done == 6
    assert answerer.seen == Counter(range(6))
    assert not failures


async def test_a_slow_line_keeps_its_lease(store, answerer, start):
    batch = store.submit(lines=2, part=2)
    answerer.gate.clear()
    start(store.process(lease_s=0.9))
    await until(lambda: answerer.running == 2)
    other = store.process()
    for _ in range(5):
        await asyncio.sleep(0.3)
        assert other.claim(1) == []
    answerer.gate.set()
    assert (await ended(store, batch)).done == 2


async def test_a_line_that_ends_processes_is_found_and_given_up(store, answerer, start, clock, caplog):
    caplog.set_level(logging.CRITICAL)
    batch = store.submit(lines=4, part=4)
    for _ in range(5):  # five processes lease the part and are never heard of again
        assert len(store.process().claim(1)) == 1
        clock.ahead += LEASE_S + 1
    start()
    found = await ended(store, batch)
    assert (found.done, found.failed) == (3, 1)
    assert answerer.seen == Counter([1, 2, 3])


async def test_a_suspicious_part_goes_line_by_line(store, answerer, start, clock, caplog):
    caplog.set_level(logging.CRITICAL)
    batch = store.submit(lines=4, part=4)
    for _ in range(3):
        store.process().claim(1)
        clock.ahead += LEASE_S + 1
    start(most=4)
    assert (await ended(store, batch)).done == 4
    assert answerer.most == 1


async def test_cancelled_lines_are_dropped(store, answerer, start):
    batch = store.submit(lines=8, part=8)
    answerer.gate.clear()
    start(most=2)
    await until(lambda: answerer.running == 2)
    store.keeping.cancel("ada", batch.id)
    answerer.gate.set()
    other = store.submit(lines=2)
    assert (await ended(store, other)).done == 2
    assert store.results(batch) == []


async def test_few_lines_run_while_people_ask():
    now, asked = [0.0], [0]
    pace = Pace(8, 2, lambda: asked[0], lambda: now[0])
    now[0] += 1.0
    assert pace.limit == 8
    asked[0] += 1
    assert pace.limit == 8  # it does not look all the time
    now[0] += 0.1
    assert pace.limit == 2
    now[0] += POLITE_S + 0.1
    assert pace.limit == 8


async def test_a_runner_whose_leases_ran_out_does_nothing_twice(store, answerer, start, clock, monkeypatch):
    monkeypatch.setattr("server.batches.runner.IDLE_S", 0.05)
    batch = store.submit(lines=8, part=2)
    answerer.gate.clear()
    start(most=3)
    await until(lambda: answerer.running == 3)
    clock.ahead = LEASE_S + 1  # as if the machine had slept
    await asyncio.sleep(0.3)  # it looks for work meanwhile
    answerer.gate.set()
    assert (await ended(store, batch)).done == 8
    assert answerer.seen == Counter(range(8))
