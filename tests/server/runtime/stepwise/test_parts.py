import asyncio
import logging
import threading
import time
from types import SimpleNamespace

import pytest

from server.errors import DeadlineExceeded, ExecutorLost, InvalidRequest, Overloaded, RunError
from server.runtime.lines import Priority
from server.runtime.loaded_model import LoadedModel
from server.runtime.options import RuntimeOptions
from server.runtime.stepwise.decoder import Decoder
from server.runtime.stepwise.parts import PARTS_AT_ONCE, InOrder, walk_parts, whole_run
from server.tasks import TASKS
from tests.server.counting import Counting, CountRequest, alone, counting_manifest, sessions
from tests.server.counting import write_counting_bundle as write_bundle
from tests.server.fakes import until

BUNDLE = SimpleNamespace(manifest=counting_manifest())
SHORT, LONG = CountRequest([3, 1], steps=2), CountRequest([5, 2, 8, 1, 4, 6], steps=9)
BAD = CountRequest([2], steps=3, fail_at=1)


class CountingAll(Counting):
    """Takes a list of requests for one, and lists what becomes of each."""

    def is_long(self, request):
        return len(request) > PARTS_AT_ONCE

    def parts(self, request, bundle):
        self.thread = threading.get_ident()
        return request

    def whole(self, request, parts, outcomes, bundle):
        return list(outcomes)


class Watched(Decoder):
    """Keeps how urgent everything was that came."""

    def __init__(self, *stages, **options):
        super().__init__(stages, CountingAll(), BUNDLE, RuntimeOptions(**options))
        self.urgencies = []
        self.most = 0

    async def run(self, prepared, deadline, on_events=None, priority=Priority.INTERACTIVE):
        self.urgencies.append(priority)
        answered = await super().run(prepared, deadline, on_events, priority)
        self.most = max(self.most, self.waiting + self.running)
        return answered


async def walk(parts, on_events=None, priority=Priority.INTERACTIVE, error=None, **options):
    decoder = Watched(sessions(error=error), **options)
    try:
        how = {"deadline": None, "priority": priority, "on_events": on_events}
        walked = await walk_parts(CountingAll(), BUNDLE, decoder, parts, **how)
        return *walked, decoder
    finally:
        await decoder.close()


async def test_parts_are_answered_as_alone_and_in_order():
    parts = [LONG, SHORT, CountRequest([2, 7, 1], steps=5, beam=3)]
    answers, runs, _ = await walk(parts)
    assert answers == [alone(part)[0] for part in parts]
    assert len(runs) == 3
    assert max(run.batch_size for run in runs) == 3


async def test_events_come_in_the_order_of_the_parts_however_soon_a_later_one_ends():
    parts, told = [LONG, SHORT, LONG], []
    await walk(parts, told.extend)
    assert told == [event for part in parts for event in alone(part)[1]]


async def test_a_part_that_fails_spoils_neither_the_others_nor_their_events():
    parts, told = [SHORT, BAD, LONG], []
    (first, failed, last), runs, _ = await walk(parts, told.extend)
    assert (first, last) == (alone(SHORT)[0], alone(LONG)[0])
    assert isinstance(failed, RunError)
    assert len(runs) == 2
    assert told[:2] == alone(SHORT)[1]
    assert told[-9:] == alone(LONG)[1]


async def test_only_the_first_part_is_as_urgent_as_its_request():
    _, _, decoder = await walk([SHORT] * 3)
    assert decoder.urgencies == [Priority.INTERACTIVE, Priority.BATCH, Priority.BATCH]


async def test_a_long_request_leaves_the_queue_to_others():
    answers, _, decoder = await walk([SHORT] * (3 * PARTS_AT_ONCE))
    assert len(answers) == 3 * PARTS_AT_ONCE
    assert decoder.most <= PARTS_AT_ONCE


@pytest.mark.parametrize("priority", Priority)
async def test_parts_wait_while_the_queue_is_full(priority):
    answers, _, _ = await walk([SHORT] * 9, priority=priority, max_batch_size=1, max_queue_cost=300)
    assert answers == [alone(SHORT)[0]] * 9


async def test_a_request_without_room_for_its_first_part_is_refused_before_anything_is_done(monkeypatch):
    async def refuse_the_first(self, prepared, deadline, on_events=None, priority=Priority.INTERACTIVE):
        if priority is Priority.INTERACTIVE:
            raise Overloaded("full", 1.0)
        ran.append(await run(self, prepared, deadline, on_events, priority))

    ran, run = [], Watched.run
    monkeypatch.setattr(Watched, "run", refuse_the_first)
    with pytest.raises(Overloaded):
        await walk([SHORT] * 3)
    assert not ran


async def test_after_the_deadline_no_part_is_prepared(monkeypatch):
    monkeypatch.setattr(CountingAll, "prepare", None)
    decoder = Watched(sessions())
    outcomes, _ = await walk_parts(
        CountingAll(), BUNDLE, decoder, [SHORT] * 9, deadline=time.monotonic() - 1.0
    )
    assert [type(outcome) for outcome in outcomes] == [DeadlineExceeded] * 9
    await decoder.close()


async def test_batch_work_that_lost_its_executor_is_asked_again_as_a_whole(caplog):
    caplog.set_level(logging.CRITICAL + 1)
    lost = ExecutorLost("gone")
    answers, _, _ = await walk([SHORT] * 2, error=lost)
    assert [type(answer) for answer in answers] == [ExecutorLost] * 2
    with pytest.raises(ExecutorLost):
        await walk([SHORT] * 2, priority=Priority.BATCH, error=lost)


async def test_a_long_request_is_taken_apart_where_nobody_waits_for_it():
    decoder = Watched(sessions())
    here = []
    for parts in ([SHORT], [SHORT] * (PARTS_AT_ONCE + 1)):
        task = CountingAll()
        await walk_parts(task, BUNDLE, decoder, parts, deadline=None)
        here.append(task.thread == threading.get_ident())
    assert here == [True, False]
    await decoder.close()


def test_what_later_parts_tell_waits_its_turn():
    told = []
    order = InOrder(told.extend)
    order.tell(1, ["b"])
    order.end(1)
    order.tell(0, ["a"])
    assert told == ["a"]
    order.end(0)
    order.tell(2, ["c"])
    assert told == ["a", "b", "c"]


def test_a_whole_without_any_run_still_says_what_it_took():
    run = whole_run([], 0.0)
    assert (run.batch_size, run.queue_ms) == (1, 0.0)
    assert run.compute_ms > 0


async def test_a_loaded_model_answers_a_request_by_its_parts(tmp_path, monkeypatch):
    monkeypatch.setitem(TASKS, "compute", CountingAll)
    model = LoadedModel(write_bundle(tmp_path / "counting"), 1, RuntimeOptions())
    await model.load()
    answers, run = await model.answer([SHORT, LONG], None)
    assert answers == [alone(SHORT)[0], alone(LONG)[0]]
    assert run.batch_size == 2
    assert model.statistics.endings["ok"] == 1
    assert model.statistics.inference_count == 2
    await model.close()


async def test_a_model_that_is_replaced_answers_all_parts_of_what_it_accepted(tmp_path, monkeypatch):
    monkeypatch.setitem(TASKS, "compute", CountingAll)
    monkeypatch.setattr("server.runtime.loaded_model.LATECOMERS_S", 0.0)
    model = LoadedModel(write_bundle(tmp_path / "counting"), 1, RuntimeOptions(max_batch_size=4))
    await model.load()
    asked = asyncio.create_task(model.answer([SHORT] * (2 * PARTS_AT_ONCE), None))
    await until(lambda: model.running)
    await model.retire()
    answers, _ = await asked
    assert answers == [alone(SHORT)[0]] * (2 * PARTS_AT_ONCE)


async def test_a_request_whose_parts_cannot_be_told_is_refused_as_a_whole(tmp_path, monkeypatch):
    class Refusing(CountingAll):
        def parts(self, request, bundle):
            raise InvalidRequest("too many parts")

    monkeypatch.setitem(TASKS, "compute", Refusing)
    model = LoadedModel(write_bundle(tmp_path / "counting"), 1, RuntimeOptions())
    await model.load()
    with pytest.raises(InvalidRequest):
        await model.answer([SHORT], None)
    assert model.statistics.endings["invalid"] == 1
    await model.close()
