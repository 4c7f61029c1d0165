import asyncio
import time
from contextlib import asynccontextmanager
from types import SimpleNamespace

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
from server.runtime.lines import Priority
from server.runtime.options import RuntimeOptions
from server.runtime.statistics import Statistics
from server.runtime.stepwise.decoder import Decoder
from server.tasks import Prepared
from tests.server.counting import Counting, CountRequest, alone, counting_manifest, sessions
from tests.server.fakes import until

TASK = Counting()
BUNDLE = SimpleNamespace(manifest=counting_manifest())
SHORT = CountRequest([3, 1], steps=3)
LONG = CountRequest([5, 2, 8, 1, 4, 6], steps=9)
BEAM = CountRequest([2, 7, 1], steps=5, beam=3)
SOON = 0.05
"""Seconds: long enough to be measured, short enough to wait for."""


@asynccontextmanager
async def decoder_of(*stages, clock=time.monotonic, renew=None, statistics=None, **options):
    decoder = Decoder(
        stages, TASK, BUNDLE, RuntimeOptions(**options), clock, renew=renew, statistics=statistics
    )
    try:
        yield decoder
    finally:
        for each in stages:
            each.step.gate.set()
        await decoder.close()


def start(decoder, request, deadline=None, on_events=None):
    return asyncio.create_task(decoder.run(TASK.prepare(request, None), deadline, on_events))


async def occupy(decoder, stages, request=LONG):
    """Close the gate and have a request wait behind it, inside its first step."""
    stages.step.gate.clear()
    task = start(decoder, request)
    await has_started(stages)
    return task


async def has_started(stages):
    """Wait for the next step to start."""
    assert await asyncio.to_thread(stages.step.started.acquire, timeout=10)


async def test_a_request_alone_is_answered_with_what_it_took():
    async with decoder_of(sessions()) as decoder:
        answered = await start(decoder, SHORT)
    assert answered.answer == alone(SHORT)[0]
    run = answered.run
    assert run.batch_size == 1
    assert run.queue_ms >= 0
    assert run.compute_ms >= run.input_ms > 0


async def test_a_request_that_needs_no_step_takes_none():
    stages = sessions()
    request = CountRequest([2], steps=0)
    async with decoder_of(stages) as decoder:
        assert (await start(decoder, request)).answer == alone(request)[0]
    assert stages.step.shapes == []


async def test_requests_that_arrive_together_share_their_steps():
    stages, requests = sessions(), [SHORT, LONG, BEAM]
    async with decoder_of(stages) as decoder:
        answers = await asyncio.gather(*(start(decoder, request) for request in requests))
    for answered, request in zip(answers, requests, strict=True):
        assert answered.answer == alone(request)[0]
        assert answered.run.batch_size == 3
    assert len(stages.encoder.shapes) == 1
    assert len(stages.step.shapes) == LONG.steps


async def test_a_newcomer_joins_a_running_batch_and_leaves_it_first():
    stages = sessions()
    async with decoder_of(stages) as decoder:
        running = await occupy(decoder, stages)
        newcomer = start(decoder, SHORT)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        stages.step.gate.set()
        answered = await newcomer
        assert answered.answer == alone(SHORT)[0]
        assert answered.run.batch_size == 2
        assert (await running).answer == alone(LONG)[0]
    rows = [shape[0] for shape in stages.step.shapes]
    assert rows == [1, 2, 2, 2, *[1] * (LONG.steps - 4)]


async def test_events_come_in_order_and_before_the_answer():
    told = []
    async with decoder_of(sessions()) as decoder:
        running = start(decoder, LONG)
        streaming = start(decoder, BEAM, on_events=told.extend)
        streaming.add_done_callback(lambda _: told.append("done"))
        await asyncio.gather(running, streaming)
    assert told == [*alone(BEAM)[1], "done"]


async def test_a_deadline_ends_a_walk_midway_and_the_others_go_on():
    stages, told = sessions(), []
    async with decoder_of(stages) as decoder:
        others = await occupy(decoder, stages)
        late = start(decoder, SHORT, time.monotonic() + SOON, told.extend)
        with pytest.raises(DeadlineExceeded, match="no answer before the deadline"):
            await late
        stages.step.gate.set()
        assert (await others).answer == alone(LONG)[0]
    assert told == []
    assert {shape[0] for shape in stages.step.shapes} == {1}


async def test_a_deadline_during_a_step_is_kept_although_the_step_goes_on():
    stages = sessions()
    async with decoder_of(stages) as decoder:
        stages.step.gate.clear()
        late = start(decoder, LONG, time.monotonic() + SOON)
        await has_started(stages)
        with pytest.raises(DeadlineExceeded):
            await late
        assert len(stages.step.shapes) == 1
        stages.step.gate.set()
        await decoder.drain()
    assert len(stages.step.shapes) == 1


async def test_a_deadline_that_has_passed_is_refused_at_the_door():
    stages = sessions()
    async with decoder_of(stages) as decoder:
        with pytest.raises(DeadlineExceeded):
            await start(decoder, SHORT, time.monotonic() - 1)
    assert stages.encoder.shapes == []


async def test_a_cancelled_request_takes_no_further_step():
    stages = sessions()
    async with decoder_of(stages) as decoder:
        leaving = await occupy(decoder, stages)
        staying = start(decoder, SHORT)
        await asyncio.sleep(0.01)
        leaving.cancel()
        stages.step.gate.set()
        assert (await staying).answer == alone(SHORT)[0]
        await decoder.drain()
        assert decoder.running == 0
    assert len(stages.step.shapes) == 1 + SHORT.steps


async def test_a_poisoned_request_fails_alone():
    bad = CountRequest([1, 1], steps=4, fail_at=2)
    async with decoder_of(sessions()) as decoder:
        outcomes = await asyncio.gather(
            *(start(decoder, request) for request in (SHORT, bad, LONG)), return_exceptions=True
        )
    assert isinstance(outcomes[1], RunError)
    assert [outcomes[place].answer for place in (0, 2)] == [alone(SHORT)[0], alone(LONG)[0]]


async def test_an_answer_that_fails_fails_alone(monkeypatch):
    monkeypatch.setattr("tests.server.counting.CountAnswer", None)
    async with decoder_of(sessions()) as decoder:
        with pytest.raises(RunError):
            await start(decoder, SHORT)
        assert decoder.running == 0


async def test_arrays_that_do_not_fit_are_refused():
    async with decoder_of(sessions()) as decoder:
        with pytest.raises(InvalidRequest, match="'numbers' is missing"):
            await decoder.run(Prepared({}, (), None), None)


async def test_the_running_batch_is_no_larger_than_its_limits():
    stages = sessions()
    async with decoder_of(stages, max_batch_size=2) as decoder:
        await asyncio.gather(*(start(decoder, SHORT) for _ in range(5)))
    assert max(shape[0] for shape in stages.step.shapes) == 2


async def test_a_wide_request_waits_until_there_is_room_for_all_its_rows_and_nobody_passes_it():
    stages = sessions()
    wide = CountRequest([1] * 64, steps=2, beam=2)
    finished = []
    async with decoder_of(stages, max_batch_cost=2 * 64) as decoder:
        tasks = [await occupy(decoder, stages), start(decoder, wide), start(decoder, SHORT)]
        for name, task in zip(("running", "wide", "short"), tasks, strict=True):
            task.add_done_callback(lambda _, name=name: finished.append(name))
        await asyncio.sleep(0.01)
        assert (decoder.running, decoder.waiting) == (1, 2)
        stages.step.gate.set()
        await asyncio.gather(*tasks)
    assert finished == ["running", "wide", "short"]


async def test_an_urgent_request_joins_before_batch_work_that_waited_longer():
    stages, finished = sessions(), []
    async with decoder_of(stages, max_batch_size=1) as decoder:
        running = await occupy(decoder, stages)
        tasks = [running]
        for name, priority in (("batch", Priority.BATCH), ("urgent", Priority.INTERACTIVE)):
            work = decoder.run(TASK.prepare(SHORT, None), None, priority=priority)
            tasks.append(asyncio.create_task(work))
            tasks[-1].add_done_callback(lambda _, name=name: finished.append(name))
            await asyncio.sleep(0.01)
        stages.step.gate.set()
        await asyncio.gather(*tasks)
    assert finished == ["urgent", "batch"]


async def test_a_request_larger_than_the_limit_walks_alone():
    huge = CountRequest([1] * 70, steps=2, beam=3)
    async with decoder_of(sessions(), max_batch_cost=10) as decoder:
        assert (await start(decoder, huge)).answer == alone(huge)[0]


async def test_a_full_queue_refuses_with_the_time_to_come_back():
    stages = sessions()
    async with decoder_of(stages, max_batch_size=1, max_queue_cost=128) as decoder:
        running = await occupy(decoder, stages)
        waiting = [start(decoder, SHORT) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as refused:
            await start(decoder, SHORT)
        assert refused.value.retry_after_s > 0
        assert (decoder.waiting, decoder.waiting_cost) == (2, 128)
        stages.step.gate.set()
        await asyncio.gather(running, *waiting)


async def test_executors_share_the_requests():
    first, second = sessions(), sessions()
    for each in (first, second):
        each.step.gate.clear()
    async with decoder_of(first, second) as decoder:
        tasks = [start(decoder, SHORT), start(decoder, LONG)]
        await has_started(first)
        await has_started(second)
        assert decoder.executors == 2
        for each in (first, second):
            each.step.gate.set()
        answers = await asyncio.gather(*tasks)
    assert [each.run.batch_size for each in answers] == [1, 1]


async def test_draining_answers_what_was_accepted_and_refuses_the_rest():
    stages = sessions()
    async with decoder_of(stages, max_batch_size=1) as decoder:
        accepted = [await occupy(decoder, stages), start(decoder, SHORT)]
        await asyncio.sleep(0)
        draining = asyncio.create_task(decoder.drain())
        await asyncio.sleep(0)
        with pytest.raises(ShuttingDown):
            await start(decoder, SHORT)
        assert not draining.done()
        stages.step.gate.set()
        await draining
        answers = [await task for task in accepted]
    assert [each.answer for each in answers] == [alone(LONG)[0], alone(SHORT)[0]]


async def test_draining_waits_for_the_last_walk():
    stages = sessions()
    async with decoder_of(stages) as decoder:
        running = await occupy(decoder, stages)
        draining = asyncio.create_task(decoder.drain())
        await asyncio.sleep(0.01)
        assert not draining.done()
        stages.step.gate.set()
        await asyncio.gather(draining, running)


async def test_closing_finishes_what_walks_refuses_what_waits_and_closes_the_sessions():
    stages = sessions()
    async with decoder_of(stages, max_batch_size=1) as decoder:
        running = await occupy(decoder, stages)
        waiting = start(decoder, SHORT)
        await asyncio.sleep(0)
        closing = asyncio.create_task(decoder.close())
        with pytest.raises(ShuttingDown):
            await waiting
        stages.step.gate.set()
        assert (await running).answer == alone(LONG)[0]
        await closing
    assert stages.step.closed
    assert stages.encoder.closed


@pytest.mark.parametrize("error", [SystemExit(3), ExecutorLost("gone")], ids=["death", "session"])
async def test_a_lost_executor_is_told_and_replaced(error, caplog):
    dying, fresh = sessions(error=error), sessions()
    async with decoder_of(dying, renew=lambda: fresh) as decoder:
        outcomes = await asyncio.gather(start(decoder, SHORT), start(decoder, LONG), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [ExecutorLost, ExecutorLost]
        assert (await start(decoder, SHORT)).answer == alone(SHORT)[0]
        await until(lambda: dying.step.closed)
        assert decoder.executors == 1
    assert "an executor is lost: its thread died" in caplog.text


async def test_a_step_that_hangs_loses_its_executor_and_what_waits_goes_to_the_next():
    hung, fresh = sessions(), sessions()
    async with decoder_of(hung, renew=lambda: fresh, executor_stall_s=0.2, max_batch_size=1) as decoder:
        stuck = await occupy(decoder, hung)
        waiting = start(decoder, SHORT)
        with pytest.raises(ExecutorLost):
            await stuck
        assert (await waiting).answer == alone(SHORT)[0]
        hung.step.gate.set()
        await until(lambda: hung.step.closed)
    assert len(hung.step.shapes) == 1


async def test_many_turns_take_longer_than_one_may():
    def slow_step(**inputs):
        time.sleep(0.02)
        return function(**inputs)

    stages = sessions()
    function, stages.step.function = stages.step.function, slow_step
    longest = CountRequest([2, 5], steps=30)
    async with decoder_of(stages, executor_stall_s=0.5) as decoder:
        assert (await start(decoder, longest)).answer == alone(longest)[0]


async def test_steps_and_rows_are_counted():
    statistics = Statistics()
    async with decoder_of(sessions(), statistics=statistics) as decoder:
        await start(decoder, BEAM)
    assert statistics.steps == BEAM.steps
    assert statistics.stepped_rows == 1 + 3 * (BEAM.steps - 1)


arrivals = st.lists(
    st.tuples(
        st.builds(
            CountRequest,
            numbers=st.lists(st.integers(0, 9), min_size=1, max_size=7),
            steps=st.integers(0, 6),
            beam=st.integers(1, 3),
            fail_at=st.sampled_from([-1, -1, -1, 1]),
        ),
        st.sampled_from(["stay", "stay", "cancel"]),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=25)
@given(arrivals, st.integers(1, 6), st.integers(1, 2))
def test_nobody_is_disturbed_by_those_who_fail_or_leave(arrivals, max_batch_size, executors):
    async def run_all():
        stages = [sessions() for _ in range(executors)]
        async with decoder_of(*stages, max_batch_size=max_batch_size) as decoder:
            tasks = []
            for request, _, pause in arrivals:
                for _ in range(pause):
                    await asyncio.sleep(0)
                tasks.append(start(decoder, request))
            for task, (_, fate, _) in zip(tasks, arrivals, strict=True):
                if fate == "cancel":
                    task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            await decoder.drain()
            assert (decoder.running, decoder.waiting, decoder.waiting_cost) == (0, 0, 0)
            return outcomes

    for outcome, (request, fate, _) in zip(asyncio.run(run_all()), arrivals, strict=True):
        if isinstance(outcome, asyncio.CancelledError):
            assert fate == "cancel"
        elif 0 <= request.fail_at < request.steps:
            assert isinstance(outcome, RunError)
        else:
            assert outcome.answer == alone(request)[0]
