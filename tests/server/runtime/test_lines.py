from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from server.runtime.lines import MOST_OVERTAKEN, Lines, Priority

INTERACTIVE, BATCH = Priority.INTERACTIVE, Priority.BATCH


@dataclass(eq=False)
class Request:
    priority: Priority
    cost: int = 1


def lines_of(*requests):
    lines = Lines()
    for request in requests:
        lines.add(request)
    return lines


requests = st.lists(st.builds(Request, st.sampled_from(Priority), st.integers(1, 99)), max_size=30)
filled = requests.filter(len)


def test_urgent_requests_overtake():
    early, late = Request(BATCH), Request(INTERACTIVE)
    assert [*lines_of(early, late).begin_batch()] == [late]


def test_with_nothing_urgent_the_others_run_at_once():
    first, second = Request(BATCH), Request(BATCH)
    assert [*lines_of(first, second).begin_batch()] == [first, second]


@given(filled)
def test_each_line_keeps_the_order_of_arrival(made):
    called = [*lines_of(*made).begin_batch()]
    for priority in Priority:
        ours = [request for request in made if request.priority is priority]
        assert [request for request in called if request.priority is priority] in (ours, [])


@given(filled)
def test_no_urgent_request_shares_a_run_with_a_less_urgent_one_that_it_leads(made):
    called = [*lines_of(*made).begin_batch()]
    assert {request.priority for request in called[1:]} <= {
        each for each in Priority if each <= called[0].priority
    }


@given(filled, st.integers(1, 3))
def test_everything_is_called_sooner_or_later_and_once(made, size):
    lines, called = lines_of(*made), Counter()
    while lines:
        for request in [*lines.begin_batch()][:size]:
            assert lines.remove(request)
            called[id(request)] += 1
    assert called == Counter(map(id, made))


@given(st.integers(1, 5), st.integers(1, 4))
def test_a_request_is_overtaken_only_so_often_however_many_urgent_ones_come(ahead, arriving):
    """It waits for those of its own line, each behind at most ``MOST_OVERTAKEN`` urgent batches."""
    patient = [Request(BATCH) for _ in range(ahead)]
    lines, batches = lines_of(*patient), 0
    while patient[-1] in lines.values():
        for _ in range(arriving):
            lines.add(Request(INTERACTIVE))
        lines.remove(next(lines.begin_batch()))
        batches += 1
    assert batches == ahead * (MOST_OVERTAKEN + 1)


def test_urgent_requests_join_the_batch_that_overtook_them():
    patient, urgent = Request(BATCH), Request(INTERACTIVE)
    lines = lines_of(patient, urgent)
    for _ in range(MOST_OVERTAKEN):
        assert next(lines.begin_batch()) is urgent
    assert [*lines.begin_batch()] == [patient, urgent]
    assert [*lines.begin_batch()] == [urgent]


@given(requests, st.data())
def test_costs_are_those_of_what_waits(made, data):
    lines = lines_of(*made)
    gone = data.draw(st.lists(st.sampled_from(made), unique_by=id) if made else st.just([]))
    for request in gone:
        assert lines.remove(request)
        assert not lines.remove(request)
    left = [request for request in made if request not in gone]
    assert len(lines) == len(left)
    assert lines.cost == lines.cost_ahead(BATCH) == sum(request.cost for request in left)
    urgent = sum(request.cost for request in left if request.priority is INTERACTIVE)
    assert lines.cost_ahead(INTERACTIVE) == lines.costs[INTERACTIVE] == urgent
