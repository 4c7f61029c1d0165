import math

import pytest

from server.errors import Overloaded
from server.runtime.admission import FULL_BATCHES, MARGIN, Admission
from server.runtime.batching import ServiceRate
from server.runtime.lines import Lines, Priority
from server.runtime.options import RuntimeOptions
from tests.server.runtime.test_lines import Request

INTERACTIVE, BATCH = Priority.INTERACTIVE, Priority.BATCH


class Door:
    """An admission whose executors work off 1,000 cells a second, once that is ``known``."""

    def __init__(self, *, known=True, executors=1, **options):
        self.waiting, self.rate, self.in_work = Lines(), ServiceRate(), [0] * executors
        self.admission = Admission(RuntimeOptions(max_batch_size=2, **options), self.waiting, self.rate)
        if known:
            self.rate.observe(1000, 1.0)

    def let(self, *, cost=10, priority=INTERACTIVE, left_s=math.inf):
        self.admission.check(cost, priority, left_s, self.in_work)
        self.waiting.add(Request(priority, cost))

    def let_until_refused(self, **request):
        """Return how many came in, and the refusal."""
        for count in range(10_000):
            try:
                self.let(**request)
            except Overloaded as error:
                return count, error
        raise AssertionError("nobody is ever refused")


def test_an_empty_queue_takes_anything():
    Door(max_queue_cost=1, max_queue_ms=0.001).let(cost=10**9, left_s=0.001)


@pytest.mark.parametrize(("executors", "taken"), [(1, 11), (2, 21), (3, 31)])
def test_interactive_requests_are_let_in_for_as_long_a_wait_as_the_setting_says(executors, taken):
    count, error = Door(executors=executors, max_queue_ms=100).let_until_refused()
    assert count == taken
    assert "ENGRAM_MAX_QUEUE_MS" in error.message
    assert error.retry_after_s == pytest.approx(taken * 10 / 1000 / executors, abs=1e-3)
    assert error.details["waiting"] == taken


def test_a_slow_model_still_has_full_batches_waiting():
    assert Door(executors=3, max_queue_ms=0.001).let_until_refused()[0] == FULL_BATCHES * 2 * 3


def test_the_bound_on_memory_holds_before_any_rate_is_known():
    count, error = Door(known=False, max_queue_cost=100).let_until_refused()
    assert count == 10
    assert "ENGRAM_MAX_QUEUE_COST" in error.message
    assert error.details["limit"] == 100


def test_batch_work_waits_as_long_as_it_takes_and_leaves_room_for_others():
    door = Door(max_queue_cost=1000, max_queue_ms=100)
    count, error = door.let_until_refused(priority=BATCH)
    assert count == 50
    assert error.details["limit"] == 500
    door.let()


def test_the_wait_of_an_interactive_request_is_what_goes_before_it():
    door = Door(max_queue_ms=100)
    for _ in range(40):
        door.let(priority=BATCH)
    assert door.let_until_refused()[0] == 11


@pytest.mark.parametrize("priority", Priority)
def test_nobody_is_let_in_to_miss_his_deadline(priority):
    door = Door(max_queue_ms=1000)
    for _ in range(20):
        door.let(priority=priority)
    door.let(priority=priority, left_s=MARGIN * 0.21 + 0.001)
    with pytest.raises(Overloaded, match="no answer within 262 ms"):
        door.let(priority=priority, left_s=MARGIN * 0.21)


def test_what_runs_already_is_waited_for_too():
    door = Door(executors=2, max_queue_ms=100)
    door.in_work = [90, 30]
    assert door.let_until_refused()[0] == 9


def test_nobody_is_refused_for_his_deadline_before_a_rate_is_known():
    door = Door(known=False)
    for _ in range(20):
        door.let(left_s=0.001)
