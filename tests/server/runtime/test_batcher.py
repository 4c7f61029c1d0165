import asyncio
import time
from contextlib import asynccontextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.errors import (
    DeadlineExceeded,
    ExecutorLost,
    InvalidRequest,
    Overloaded,
    RunError,
    ShuttingDown,
)
from server.runtime.batcher import Batcher
from server.runtime.lines import Priority
from server.runtime.options import RuntimeOptions
from server.runtime.request_queue import MIN_COST
from tests.server.fakes import SIGNATURE, FakeSession, arithmetic

OUTPUTS = tuple(spec.name for spec in SIGNATURE.outputs)
POISON = 99
SOON = 0.05
"""Seconds: long enough to be measured, short enough to wait for."""


def make_request(facts=2, words=3, token=2):
    story = np.full((facts, words), token) + np.arange(facts)[:, None]
    return {"story_tokens": story, "question_tokens": np.arange(2, 2 + words)}


def expected(request):
    return {
        name: values[0] for name, values in arithmetic(**{k: v[None] for k, v in request.items()}).items()
    }


def assert_answers(run, request):
    for name, values in expected(request).items():
        np.testing.assert_allclose(run.outputs[name], values, rtol=1e-6)


@asynccontextmanager
async def batcher_of(*sessions, clock=time.monotonic, **options):
    batcher = Batcher(sessions, SIGNATURE, RuntimeOptions(**options), clock)
    try:
        yield batcher
    finally:
        for session in sessions:
            session.gate.set()
        await batcher.close()


def start(batcher, request, deadline=None):
    return asyncio.create_task(batcher.run(request, OUTPUTS, deadline))


async def occupy(batcher, session, request=None):
    """Close the gate and have a request wait behind it, inside a run."""
    session.gate.clear()
    task = start(batcher, request or make_request())
    await session.has_started()
    return task


async def test_a_request_alone_runs_at_once(session):
    async with batcher_of(session) as batcher:
        run = await batcher.run(make_request(), OUTPUTS, None)
    assert_answers(run, make_request())
    assert run.batch_size == 1
    assert run.queue_ms >= 0
    assert run.compute_ms > 0


async def test_requests_of_different_lengths_that_arrive_together_run_as_one_batch(session):
    requests = [make_request(facts, words) for facts, words in [(3, 5), (7, 2), (1, 4), (5, 6), (2, 2)]]
    async with batcher_of(session) as batcher:
        runs = await asyncio.gather(*(batcher.run(request, OUTPUTS, None) for request in requests))
    assert session.shapes == [(5, 7, 6)]
    for run, request in zip(runs, requests, strict=True):
        assert_answers(run, request)
        assert run.batch_size == 5
        assert run.outputs["attention"].shape == (3, len(request["story_tokens"]))


async def test_what_waits_while_a_batch_runs_is_the_next_batch(session):
    async with batcher_of(session) as batcher:
        first = await occupy(batcher, session)
        others = [start(batcher, make_request(facts)) for facts in (1, 2, 3)]
        await asyncio.sleep(0)
        session.gate.set()
        await asyncio.gather(first, *others)
    assert session.batches == [1, 3]


async def test_a_batch_is_no_larger_than_its_limit(session):
    async with batcher_of(session, max_batch_size=4) as batcher:
        await asyncio.gather(*(batcher.run(make_request(), OUTPUTS, None) for _ in range(10)))
    assert session.batches == [4, 4, 2]


shapes = st.tuples(st.integers(1, 9), st.integers(1, 6), st.integers(2, 50))


@settings(max_examples=30, deadline=None)
@given(st.lists(shapes, min_size=1, max_size=12), st.integers(1, 5), st.integers(1, 3))
def test_what_a_request_is_batched_with_never_changes_its_result(made, max_batch_size, executors):
    async def run_all():
        sessions = [FakeSession() for _ in range(executors)]
        async with batcher_of(*sessions, max_batch_size=max_batch_size) as batcher:
            return await asyncio.gather(*(batcher.run(request, OUTPUTS, None) for request in requests))

    requests = [make_request(*shape) for shape in made]
    for run, request in zip(asyncio.run(run_all()), requests, strict=True):
        assert_answers(run, request)


@pytest.mark.parametrize(
    "wanted", [("attention",), ("attention", "answer_probabilities"), OUTPUTS], ids=["one", "two", "all"]
)
async def test_the_session_is_asked_for_the_outputs_that_are_wanted_and_no_others(session, wanted):
    async with batcher_of(session) as batcher:
        run = await batcher.run(make_request(), wanted, None)
    assert set(run.outputs) == set(session.asked[0]) == set(wanted)


async def test_a_batch_computes_what_any_of_its_requests_wants_and_each_gets_its_own(session):
    wanted = [("answer_probabilities",), ("attention",), ("answer_probabilities", "attention")]
    async with batcher_of(session) as batcher:
        runs = await asyncio.gather(*(batcher.run(make_request(), outputs, None) for outputs in wanted))
    assert session.asked == [["answer_probabilities", "attention"]]
    assert [set(run.outputs) for run in runs] == [set(outputs) for outputs in wanted]


async def test_interactive_requests_overtake_what_waits_at_batch_priority(session):
    order = []

    async def ask(name, priority):
        await batcher.run(make_request(), OUTPUTS, None, priority)
        order.append(name)

    async with batcher_of(session, max_batch_size=2) as batcher:
        first = await occupy(batcher, session)
        tasks = [asyncio.create_task(ask(f"item {place}", Priority.BATCH)) for place in range(3)]
        await asyncio.sleep(0)
        tasks += [asyncio.create_task(ask(f"question {place}", Priority.INTERACTIVE)) for place in range(3)]
        await asyncio.sleep(0)
        assert batcher.waiting_costs == {Priority.INTERACTIVE: 3 * MIN_COST, Priority.BATCH: 3 * MIN_COST}
        session.gate.set()
        await asyncio.gather(first, *tasks)
    assert order == ["question 0", "question 1", "question 2", "item 0", "item 1", "item 2"]
    assert session.batches == [1, 2, 1, 2, 1]


async def test_executors_work_side_by_side():
    sessions = FakeSession(), FakeSession()
    async with batcher_of(*sessions) as batcher:
        for session in sessions:
            session.gate.clear()
        first = start(batcher, make_request())
        await asyncio.sleep(0.01)
        second = start(batcher, make_request())
        for session in sessions:
            await session.has_started()
            session.gate.set()
        await asyncio.gather(first, second)
    assert [session.batches for session in sessions] == [[1], [1]]


async def test_a_bad_request_spoils_only_itself():
    session = FakeSession(poison=POISON)
    requests = [make_request(2), make_request(1, token=POISON), make_request(3)]
    async with batcher_of(session) as batcher:
        tasks = [start(batcher, request) for request in requests]
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        again = await batcher.run(make_request(), OUTPUTS, None)
    assert_answers(outcomes[0], requests[0])
    assert_answers(outcomes[2], requests[2])
    assert_answers(again, make_request())
    assert isinstance(outcomes[1], RunError)
    assert outcomes[1].message == "the graph failed on this input"
    assert session.batches == [3, 1, 1, 1, 1]
    assert outcomes[0].batch_size == 1


async def test_a_bad_request_alone_is_not_run_twice():
    session = FakeSession(poison=POISON)
    async with batcher_of(session) as batcher:
        with pytest.raises(RunError):
            await batcher.run(make_request(token=POISON), OUTPUTS, None)
    assert session.batches == [1]


async def test_a_lost_executor_is_told_to_every_request_of_its_batch():
    session = FakeSession(poison=POISON, error=ExecutorLost("gone"))
    async with batcher_of(session) as batcher:
        tasks = [start(batcher, make_request(token=POISON)), start(batcher, make_request())]
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ExecutorLost, ExecutorLost]
    assert session.batches == [2]


@pytest.mark.parametrize(
    "arrays",
    [{"story_tokens": np.ones((2, 3))}, {"story_tokens": np.ones(3), "question_tokens": np.ones(2)}],
    ids=["missing", "rank"],
)
async def test_arrays_that_do_not_fit_are_refused_before_they_wait(session, arrays):
    async with batcher_of(session) as batcher:
        with pytest.raises(InvalidRequest):
            await batcher.run(arrays, OUTPUTS, None)
    assert session.batches == []


async def test_a_deadline_is_answered_in_time_while_the_request_waits_and_it_never_runs(session):
    async with batcher_of(session) as batcher:
        first = await occupy(batcher, session)
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded, match="before the deadline"):
            await batcher.run(make_request(), OUTPUTS, started + SOON)
        assert SOON - 0.002 <= time.monotonic() - started < SOON + 1.0
        session.gate.set()
        await first
        await batcher.drain()
    assert session.batches == [1]


async def test_a_deadline_is_answered_in_time_while_the_request_runs(session):
    async with batcher_of(session) as batcher:
        started = time.monotonic()
        session.gate.clear()
        with pytest.raises(DeadlineExceeded) as caught:
            await batcher.run(make_request(), OUTPUTS, started + SOON)
        assert time.monotonic() - started < SOON + 1.0
        assert caught.value.details["waited_ms"] >= SOON * 1e3 - 2
        session.gate.set()
        assert_answers(await batcher.run(make_request(), OUTPUTS, None), make_request())


async def test_a_deadline_that_has_passed_is_refused_at_the_door(session):
    async with batcher_of(session) as batcher:
        with pytest.raises(DeadlineExceeded):
            await batcher.run(make_request(), OUTPUTS, time.monotonic())
    assert session.batches == []


async def test_an_expired_request_is_not_run_even_if_its_timer_is_late(session):
    now = 100.0
    async with batcher_of(session, clock=lambda: now) as batcher:
        first = await occupy(batcher, session)
        late, other = start(batcher, make_request(), 130.0), start(batcher, make_request(5))
        await asyncio.sleep(0)
        now = 130.0
        session.gate.set()
        with pytest.raises(DeadlineExceeded, match="after 30000 ms"):
            await late
        assert (await other).queue_ms == 30_000
        assert (await first).compute_ms == 30_000
    assert session.batches == [1, 1]


async def test_a_cancelled_request_never_runs_and_leaves_room(session):
    async with batcher_of(session, max_queue_cost=64) as batcher:
        first = await occupy(batcher, session)
        waiting = start(batcher, make_request())
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await batcher.run(make_request(), OUTPUTS, None)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        other = start(batcher, make_request(5))
        await asyncio.sleep(0)
        session.gate.set()
        assert_answers(await other, make_request(5))
        await first
    assert session.batches == [1, 1]


async def test_cancelling_a_running_request_leaves_the_others_of_its_batch_alone(session):
    async with batcher_of(session) as batcher:
        session.gate.clear()
        gone, stays = start(batcher, make_request()), start(batcher, make_request(5))
        await session.has_started()
        gone.cancel()
        session.gate.set()
        assert_answers(await stays, make_request(5))
        await asyncio.gather(gone, return_exceptions=True)
        assert gone.cancelled()


async def test_a_batch_that_nobody_waits_for_is_not_retried():
    session = FakeSession(poison=POISON)
    async with batcher_of(session) as batcher:
        session.gate.clear()
        tasks = [start(batcher, make_request(token=POISON)) for _ in range(3)]
        await session.has_started()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        session.gate.set()
        await batcher.drain()
    assert session.batches == [3]


async def test_a_full_queue_answers_overloaded_with_a_time_to_come_back(session):
    async with batcher_of(session, max_queue_cost=200) as batcher:
        first = await occupy(batcher, session)
        others = [start(batcher, make_request()) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="ENGRAM_MAX_QUEUE_COST") as caught:
            await batcher.run(make_request(), OUTPUTS, None)
        assert caught.value.retry_after_s > 0
        assert caught.value.details["waiting"] == 3
        session.gate.set()
        await asyncio.gather(first, *others)
        assert_answers(await batcher.run(make_request(), OUTPUTS, None), make_request())


async def test_the_time_to_come_back_follows_the_observed_rate(session):
    now = 0.0
    async with batcher_of(session, clock=lambda: now, max_queue_cost=128) as batcher:
        for _ in range(60):
            first = await occupy(batcher, session)
            now += 2.0
            session.gate.set()
            await first
        first = await occupy(batcher, session)
        others = [start(batcher, make_request()) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as caught:
            await batcher.run(make_request(), OUTPUTS, None)
        assert caught.value.retry_after_s == pytest.approx(4.0)
        session.gate.set()
        await asyncio.gather(first, *others)


async def test_a_request_larger_than_the_queue_is_taken_when_nothing_waits(session):
    async with batcher_of(session, max_queue_cost=1) as batcher:
        assert_answers(await batcher.run(make_request(9), OUTPUTS, None), make_request(9))


async def test_a_large_request_is_not_starved_by_small_ones(session):
    async with batcher_of(session, max_batch_size=2) as batcher:
        first = await occupy(batcher, session)
        large = start(batcher, make_request(200, 6))
        small = [start(batcher, make_request(1, 2)) for _ in range(6)]
        await asyncio.sleep(0)
        session.gate.set()
        await asyncio.gather(first, large, *small)
    assert session.shapes[1] == (1, 200, 6)


async def test_draining_answers_what_was_accepted_and_refuses_the_rest(session):
    async with batcher_of(session) as batcher:
        running = await occupy(batcher, session)
        waiting = start(batcher, make_request(5))
        await asyncio.sleep(0)
        draining = asyncio.create_task(batcher.drain())
        await asyncio.sleep(0.01)
        assert not draining.done()
        with pytest.raises(ShuttingDown):
            await batcher.run(make_request(), OUTPUTS, None)
        session.gate.set()
        await draining
        assert_answers(await running, make_request())
        assert_answers(await waiting, make_request(5))


async def test_draining_ends_when_the_last_waiting_request_is_cancelled(session):
    async with batcher_of(session) as batcher:
        task = start(batcher, make_request())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait_for(batcher.drain(), 5)


async def test_closing_refuses_what_waits_finishes_what_runs_and_closes_the_sessions():
    session = FakeSession()
    batcher = Batcher([session], SIGNATURE, RuntimeOptions())
    running = await occupy(batcher, session)
    waiting = start(batcher, make_request())
    await asyncio.sleep(0)
    closing = asyncio.create_task(batcher.close())
    with pytest.raises(ShuttingDown):
        await waiting
    session.gate.set()
    await closing
    assert_answers(await running, make_request())
    assert session.closed
    with pytest.raises(ShuttingDown):
        await batcher.run(make_request(), OUTPUTS, None)


async def test_a_storm_of_requests_deadlines_and_cancellations_answers_each_rightly():
    rng = np.random.default_rng(7)
    sessions = [FakeSession(poison=POISON) for _ in range(2)]

    async def one():
        request = make_request(*rng.integers(1, 9, 2).tolist(), token=int(rng.choice([2, 3, 5, POISON])))
        await asyncio.sleep(float(rng.random()) * 0.02)
        task = start(batcher, request, time.monotonic() + float(rng.choice([0.002, 5.0])))
        if rng.random() < 0.2:
            asyncio.get_running_loop().call_later(float(rng.random()) * 0.005, task.cancel)
        [outcome] = await asyncio.gather(task, return_exceptions=True)
        if isinstance(outcome, BaseException):
            allowed = (DeadlineExceeded, Overloaded, asyncio.CancelledError, RunError)
            assert isinstance(outcome, allowed)
            assert (request["story_tokens"] == POISON).any() or not isinstance(outcome, RunError)
        else:
            assert_answers(outcome, request)

    async with batcher_of(*sessions, max_batch_size=5) as batcher:
        await asyncio.gather(*(one() for _ in range(300)))
        await asyncio.wait_for(batcher.drain(), 5)
