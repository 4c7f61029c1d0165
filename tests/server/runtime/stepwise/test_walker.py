import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.errors import ExecutorLost, RunError
from server.runtime.options import RuntimeOptions
from server.runtime.stepwise.steps import Walk
from server.runtime.stepwise.walker import Walker
from server.runtime.stepwise.wiring import Wiring
from server.tasks import Prepared
from tests.server.counting import Counting, CountRequest, CountSearch, alone, counting_manifest, sessions

TASK = Counting()
WIRING = Wiring.of(counting_manifest())
SHORT = CountRequest([3, 1], steps=4)
LONG = CountRequest([5, 2, 8, 1, 4, 6], steps=2)
BEAM = CountRequest([2, 7, 1], steps=5, beam=3)


class Run:
    """A walker with the requests that walk in it, one step at a time."""

    def __init__(self, task=TASK, stages=None, **options):
        self.stages = stages or sessions()
        self.walker = Walker(self.stages, WIRING, task, None, RuntimeOptions(**options))
        self.task = task
        self.live = {}
        self.answers = {}
        self.events = {}

    def join(self, **requests):
        newcomers = [WIRING.newcomer(self.task.prepare(request, None)) for request in requests.values()]
        for name, walk in zip(requests, self.walker.begin(newcomers), strict=True):
            if isinstance(walk, RunError):
                self.answers[name] = walk
            else:
                self.live[name], self.events[name] = walk, []

    def leave(self, name):
        del self.live[name]

    def step(self):
        outcomes = self.walker.step(list(self.live.values()))
        for (name, walk), outcome in zip(list(self.live.items()), outcomes, strict=True):
            if isinstance(outcome, RunError):
                self.answers[name] = outcome
                del self.live[name]
                continue
            self.events[name] += outcome
            if walk.search.finished:
                self.answers[name] = walk.search.answer()
                del self.live[name]

    def to_the_end(self):
        while self.live:
            self.step()
        return self.answers

    @property
    def shapes(self):
        return self.stages.step.shapes


def test_a_request_alone_takes_its_steps():
    run = Run()
    run.join(short=SHORT)
    answer, events = alone(SHORT)
    assert run.to_the_end() == {"short": answer}
    assert run.events["short"] == events
    assert run.shapes == [(1, 2)] * 4


def test_requests_of_different_lengths_share_every_step_and_the_longer_one_leaves_smaller_rows_behind():
    run = Run()
    run.join(short=SHORT, long=LONG)
    assert run.to_the_end() == {"short": alone(SHORT)[0], "long": alone(LONG)[0]}
    assert run.shapes == [(2, 6), (2, 6), (1, 2), (1, 2)]


def test_a_newcomer_joins_between_two_steps():
    run = Run()
    run.join(short=SHORT)
    run.step()
    run.join(long=LONG, beam=BEAM)
    run.step()
    assert run.live["short"].mates == 3
    named = {"short": SHORT, "long": LONG, "beam": BEAM}
    assert run.to_the_end() == {name: alone(request)[0] for name, request in named.items()}
    # Rows of a beam: one, then three; the other two have one each.
    assert run.shapes == [(1, 2), (3, 6), (5, 6), (4, 3), (3, 3), (3, 3)]


def test_the_other_rows_stay_when_one_leaves_midway():
    run = Run()
    run.join(beam=BEAM, long=LONG, short=SHORT)
    run.step()
    run.leave("long")
    assert run.to_the_end() == {"beam": alone(BEAM)[0], "short": alone(SHORT)[0]}


def test_a_beam_forks_and_drops_rows():
    wide = CountRequest([1, 1], steps=3, beam=7)
    run = Run()
    run.join(wide=wide)
    assert run.to_the_end() == {"wide": alone(wide)[0]}
    assert run.shapes == [(1, 2), (7, 2), (7, 2)]


requests = st.builds(
    CountRequest,
    numbers=st.lists(st.integers(0, 9), min_size=1, max_size=7),
    steps=st.integers(0, 5),
    beam=st.integers(1, 4),
    first=st.lists(st.integers(0, 9), min_size=1, max_size=5).map(tuple),
)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 4), requests), min_size=1, max_size=9), st.integers(1, 5))
def test_whoever_joins_and_leaves_nobody_gets_another_answer_or_other_events(arrivals, max_batch_size):
    run = Run(max_batch_size=max_batch_size)
    expected = {}
    for name, (steps_before, request) in enumerate(arrivals):
        for _ in range(steps_before if run.live else 0):
            run.step()
        expected[str(name)] = alone(request)
        if request.steps:
            run.join(**{str(name): request})
    for name, answer in run.to_the_end().items():
        assert (answer, run.events[name]) == expected[name]
    assert len(run.answers) == sum(request.steps > 0 for _, request in arrivals)


def test_requests_can_be_answered_in_one_call():
    walker = Run().walker
    prepared = [TASK.prepare(each, None) for each in (SHORT, BEAM, LONG)]
    assert walker.answer(prepared) == [alone(each)[0] for each in (SHORT, BEAM, LONG)]


def test_answering_in_one_call_raises_what_went_wrong():
    with pytest.raises(RunError, match="too many"):
        Run().walker.answer([TASK.prepare(CountRequest([1], fail_at=1), None)])


def test_sizes_far_apart_run_apart():
    run = Run()
    long = CountRequest([1] * 900, steps=2)
    run.join(short=SHORT, long=long, beam=BEAM)
    run.step()
    assert run.shapes == [(2, 3), (1, 900)]
    assert run.to_the_end()["long"] == alone(long)[0]


def test_a_newcomer_that_begins_with_much_takes_its_first_step_apart_and_then_joins():
    prompt = CountRequest([4, 4], steps=3, first=(0,) * 900)
    run = Run()
    run.join(short=SHORT, prompt=prompt)
    run.step()
    assert len(run.shapes) == 2
    run.step()
    assert run.shapes[2:] == [(2, 2)]
    assert run.to_the_end()["prompt"] == alone(prompt)[0]


def test_a_bad_step_fails_alone(caplog):
    run = Run()
    bad = CountRequest([2, 2], steps=3, fail_at=1)
    run.join(short=SHORT, bad=bad, long=LONG)
    answers = run.to_the_end()
    assert isinstance(answers.pop("bad"), RunError)
    assert answers == {"short": alone(SHORT)[0], "long": alone(LONG)[0]}
    assert "a step of 3 failed, its requests run singly" in caplog.text


@pytest.mark.parametrize("method", ["begin", "feed", "advance"])
def test_a_search_that_fails_fails_alone(method):
    class Broken(CountSearch):
        def __init__(self, request):
            super().__init__(request if method != "begin" else 1 / 0)

        def feed(self):
            return super().feed() if method != "feed" else 1 / 0

        def advance(self, outputs):
            return super().advance(outputs) if method != "advance" else 1 / 0

    class Sometimes(Counting):
        def begin(self, encoded, prepared, bundle):
            return (Broken if prepared.context is bad else CountSearch)(prepared.context)

    bad = CountRequest([1, 2], steps=4)
    run = Run(Sometimes())
    run.join(short=SHORT, bad=bad)
    answers = run.to_the_end()
    assert answers.pop("bad").message == "the graph failed on this input"
    assert answers == {"short": alone(SHORT)[0]}


def test_a_bad_encoding_fails_alone(caplog):
    run = Run()
    whole = run.stages.encoder.function

    def picky(numbers):
        if (numbers == 13).any():
            raise RunError("thirteen")
        return whole(numbers)

    run.stages.encoder.function = picky
    run.join(short=SHORT, bad=CountRequest([13, 1]))
    answers = run.to_the_end()
    assert answers.pop("bad").message == "thirteen"
    assert answers == {"short": alone(SHORT)[0]}
    assert "an encoding of 2 failed" in caplog.text


@pytest.mark.parametrize("stage", ["encoder", "step"])
def test_a_lost_session_is_the_end_of_all(stage):
    run = Run()
    getattr(run.stages, stage).error = ExecutorLost("gone")

    def begin_and_step():
        run.join(short=SHORT)
        run.step()

    with pytest.raises(ExecutorLost):
        begin_and_step()


def test_a_search_must_feed_what_the_step_takes_and_continue_rows_that_exist():
    class Forgetful(CountSearch):
        def feed(self):
            return {}, [0]

    class Lost(CountSearch):
        def feed(self):
            return {"digits": np.array([[1]])}, [1]

    for search, message in ((Forgetful, r"feeds \[\] beside"), (Lost, r"continues rows \[1\] of 1")):
        walk = begun()
        walk.search = search(SHORT)
        [error] = Run().walker.step([walk])
        assert isinstance(error, RunError)
        with pytest.raises(RunError, match=message):
            raise error


def begun() -> Walk:
    [walk] = Run().walker.begin([WIRING.newcomer(TASK.prepare(SHORT, None))])
    return walk


def test_only_what_somebody_wants_is_computed():
    class Frugal(Counting):
        def prepare(self, request, bundle):
            prepared = super().prepare(request, bundle)
            return Prepared(prepared.arrays, ("scores",), request)

    class Search(CountSearch):
        def advance(self, outputs):
            assert set(outputs) == {"scores"}
            return super().advance({**outputs, "places": np.zeros((1, 1))})

    run = Run(Frugal())
    run.join(short=SHORT)
    run.live["short"].search = Search(SHORT)
    run.step()
    assert run.stages.step.asked_for == [["next_total", "next_trail", "scores"]]
    assert run.stages.encoder.asked_for == [["memory", "factors", "total", "trail"]]


def test_memory_is_left_where_it_is_as_long_as_nobody_joins_or_leaves():
    run = Run()
    run.join(short=SHORT, other=CountRequest([1, 2], steps=4))
    run.step()
    first = run.live["short"].block
    run.step()
    second = run.live["short"].block
    assert second.arrays["memory"] is first.arrays["memory"]
    assert second is run.live["other"].block


def test_the_work_is_counted():
    run = Run()
    run.join(short=SHORT, long=LONG)
    run.step()
    walker = run.walker
    assert (walker.runs, walker.rows, walker.cells, walker.padded_cells) == (1, 2, 2 + 6, 2 * 6)
