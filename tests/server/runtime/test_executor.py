"""What happens when an executor dies or hangs: nobody waits for ever, and another takes its place."""

import asyncio
import os
import sys
import threading
import time

import numpy as np
import pytest

from server.errors import DeadlineExceeded, ExecutorLost
from server.runtime.batcher import Batcher
from server.runtime.options import RuntimeOptions
from server.runtime.request_queue import FIRST_RETRY_S
from server.runtime.worker import STEP_BACK
from tests.server.fakes import SIGNATURE, FakeSession, until

OUTPUTS = tuple(spec.name for spec in SIGNATURE.outputs)
DEADLY = 99
REQUEST = {"story_tokens": np.array([[2, 3, 4]]), "question_tokens": np.array([5, 6])}
KILLER = {**REQUEST, "story_tokens": np.array([[DEADLY]])}


class Death(BaseException):
    """Something that no executor expects."""


def batcher_of(*sessions, renew=None, **options):
    return Batcher(sessions, SIGNATURE, RuntimeOptions(**options), renew=renew)


def run(batcher, request=REQUEST, deadline=None):
    return asyncio.create_task(batcher.run(request, OUTPUTS, deadline))


@pytest.mark.parametrize("error", [Death(), ExecutorLost("the device is gone")], ids=["death", "session"])
async def test_a_dead_executor_is_told_and_replaced_by_a_fresh_session(error, caplog):
    dying, fresh = FakeSession(poison=DEADLY, error=error), FakeSession()
    batcher = batcher_of(dying, renew=lambda: fresh)
    outcomes = await asyncio.gather(run(batcher, KILLER), run(batcher), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ExecutorLost, ExecutorLost]
    assert "ask again" in outcomes[0].message
    assert (await run(batcher)).batch_size == 1
    assert batcher.executors == 1
    await until(lambda: dying.closed)  # the dying thread closes its session last, after it has told
    assert not fresh.closed
    assert "an executor is lost: its thread died" in caplog.text
    await batcher.close()
    assert fresh.closed


async def test_a_run_that_hangs_is_answered_and_replaced_and_what_waits_goes_to_the_new_one():
    hung, fresh = FakeSession(), FakeSession()
    batcher = batcher_of(hung, renew=lambda: fresh, executor_stall_s=0.2, max_batch_size=1)
    hung.gate.clear()
    stuck = run(batcher)
    await hung.has_started()
    waiting = run(batcher)
    with pytest.raises(ExecutorLost):
        await stuck
    assert (await waiting).batch_size == 1
    assert fresh.batches == [1]
    hung.gate.set()  # the call returns after all: its result is nobody's, its thread ends
    await until(lambda: hung.closed)
    assert batcher.executors == 1
    await batcher.close()


async def test_without_an_executor_requests_wait_until_their_deadline():
    opening = threading.Event()
    batcher = batcher_of(
        FakeSession(poison=DEADLY, error=Death()), renew=lambda: opening.wait(10) and FakeSession()
    )
    with pytest.raises(ExecutorLost):
        await run(batcher, KILLER)
    assert batcher.executors == 0
    with pytest.raises(DeadlineExceeded):
        await run(batcher, deadline=time.monotonic() + 0.05)
    waiting = run(batcher)
    await asyncio.sleep(0)
    opening.set()
    assert (await waiting).batch_size == 1
    await batcher.close()


async def test_a_replacement_that_cannot_be_opened_is_tried_again(monkeypatch):
    monkeypatch.setattr("server.runtime.request_queue.FIRST_RETRY_S", FIRST_RETRY_S / 50)
    attempts = []

    def renew():
        attempts.append(1)
        if len(attempts) < 3:
            raise MemoryError
        return FakeSession()

    batcher = batcher_of(FakeSession(poison=DEADLY, error=Death()), renew=renew)
    with pytest.raises(ExecutorLost):
        await run(batcher, KILLER)
    assert (await run(batcher)).batch_size == 1
    assert len(attempts) == 3
    await batcher.close()


async def test_the_other_executors_go_on_meanwhile():
    dying, other = FakeSession(poison=DEADLY, error=Death()), FakeSession()
    batcher = batcher_of(other, dying)
    with pytest.raises(ExecutorLost):
        await run(batcher, KILLER)
    assert batcher.executors == 1
    assert (await run(batcher)).batch_size == 1
    assert other.batches == [1]
    await batcher.close()


async def test_draining_waits_for_what_a_lost_executor_left_behind():
    batcher = batcher_of(FakeSession(poison=DEADLY, error=Death()), renew=FakeSession, max_batch_size=1)
    killer, other = run(batcher, KILLER), run(batcher)
    await asyncio.sleep(0)
    await asyncio.wait_for(batcher.drain(), 10)
    outcomes = await asyncio.gather(killer, other, return_exceptions=True)
    assert isinstance(outcomes[0], ExecutorLost)
    assert outcomes[1].batch_size == 1
    await batcher.close()


async def test_closing_does_not_wait_for_ever_for_a_run_that_hangs():
    session = FakeSession()
    batcher = batcher_of(session, executor_stall_s=0.2)
    session.gate.clear()
    stuck = run(batcher)
    await session.has_started()
    await asyncio.wait_for(batcher.close(), 10)
    with pytest.raises(ExecutorLost):
        await stuck
    session.gate.set()
    await until(lambda: session.closed)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a niceness of their own on Linux alone")
async def test_the_event_loop_goes_before_its_executors():
    found = []

    class Nosy(FakeSession):
        def run(self, inputs, outputs):
            found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
            return super().run(inputs, outputs)

    batcher = batcher_of(Nosy())
    await run(batcher)
    await batcher.close()
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert found == [min(19, own + STEP_BACK)]
