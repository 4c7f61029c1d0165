import os

import pytest

from server.runtime.options import MOST_EXECUTORS, RuntimeOptions, executors_for


@pytest.mark.parametrize(
    ("cores", "workers", "executors"), [(1, 1, 1), (2, 1, 2), (3, 2, 1), (8, 2, 4), (64, 1, MOST_EXECUTORS)]
)
def test_executors_share_the_cores_of_the_process_with_its_workers(monkeypatch, cores, workers, executors):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    assert executors_for(workers) == executors


def test_a_model_may_have_another_number_of_executors():
    options = RuntimeOptions(executors=3, model_executors={"small": 1})
    assert options.of("small").executors == 1
    assert options.of("large").executors == 3
    assert options.of("small").of("small") == options.of("small")


@pytest.mark.parametrize(
    "wrong",
    [{"model_executors": {"small": 0}}, {"max_queue_ms": 0}, {"max_batch_cost": 0}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_choice_that_cannot_be_is_refused_by_its_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RuntimeOptions(**wrong)
