import logging

import pytest

from server.runtime.loaded_model import LoadedModel
from server.runtime.options import RuntimeOptions
from server.runtime.warm_up import shapes, warm_up
from tests.server.fakes import LIMITS, SIGNATURE, FakeSession, probes

PROBE = probes().inputs[0]


def test_small_and_large_requests_are_run_alone_and_in_full_batches(session):
    warm_up(session, SIGNATURE, LIMITS, PROBE, RuntimeOptions(max_batch_size=5, max_batch_cost=100))
    assert session.shapes == [(1, 1, 1), (5, 1, 1), (1, 2, 2), (5, 2, 2), (1, 7, 6), (2, 7, 6)]


def test_a_start_does_not_wait_for_more_than_one_long_run(session, monkeypatch):
    moments = iter([0.0, 0.1, 1.0, 2.9])
    monkeypatch.setattr("server.runtime.warm_up.time.perf_counter", lambda: next(moments))
    warm_up(session, SIGNATURE, LIMITS, PROBE, RuntimeOptions(max_batch_size=5, max_batch_cost=100))
    assert session.shapes == [(1, 1, 1), (5, 1, 1)]


def test_a_limit_beyond_the_cost_of_a_batch_is_run_alone():
    made = list(shapes(SIGNATURE, LIMITS, PROBE, RuntimeOptions(max_batch_cost=20)))
    assert made[-1] == (1, {"facts": 7, "words": 6, "question_words": 5})
    assert made[-2][0] == 5


def test_an_axis_without_a_limit_keeps_the_size_of_the_probe():
    made = list(shapes(SIGNATURE, {"max_facts": 7}, PROBE, RuntimeOptions()))
    assert {sizes["words"] for _, sizes in made} == {PROBE["story_tokens"].shape[1]}


def test_only_values_of_the_probe_are_run(session):
    seen = set()
    run = session.run

    def look(inputs, outputs):
        seen.update(inputs["story_tokens"].flat)
        return run(inputs, outputs)

    session.run = look
    warm_up(session, SIGNATURE, LIMITS, PROBE, RuntimeOptions())
    assert seen == set(PROBE["story_tokens"].flat)


@pytest.mark.parametrize("wanted", [True, False], ids=["on", "off"])
async def test_a_model_is_warm_before_it_is_ready_unless_told_otherwise(repository_folder, wanted):
    session = FakeSession()
    options = RuntimeOptions(warm_up=wanted)
    model = LoadedModel(repository_folder / "tiny", 1, options, lambda *_: session)
    await model.load()
    assert model.state == "ready"
    assert (len(session.batches) > 3) is wanted
    await model.close()


async def test_a_graph_that_fails_within_its_own_limits_is_not_served(repository_folder, caplog):
    session = FakeSession()
    run = session.run

    def fail_when_large(inputs, outputs):
        if inputs["story_tokens"].shape[1] > 5:
            raise MemoryError
        return run(inputs, outputs)

    session.run = fail_when_large
    model = LoadedModel(repository_folder / "tiny", 1, RuntimeOptions(), lambda *_: session)
    with caplog.at_level(logging.CRITICAL):
        await model.load()
    assert model.state == "failed"
    assert session.closed
