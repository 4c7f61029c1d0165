import asyncio
import dataclasses

import numpy as np
import pytest

from server.contract.subwords import Subwords
from server.errors import DeadlineExceeded, InputTooLong, InvalidRequest, RunError
from server.runtime.loaded_model import LoadedModel
from server.runtime.options import RuntimeOptions
from server.runtime.rows import check_batch, stack
from tests.server.fakes import arithmetic


def batch(rows=3, facts=5, words=2, question_words=4):
    story = np.arange(2, 2 + rows * facts * words).reshape(rows, facts, words) % 19 + 2
    return {
        "story_tokens": story,
        "question_tokens": np.arange(rows * question_words).reshape(rows, -1) % 19 + 2,
    }


@pytest.fixture
async def model(repository_folder, session):
    model = LoadedModel(repository_folder / "tiny", 1, RuntimeOptions(max_batch_size=3), lambda *_: session)
    await model.load()
    assert model.state == "ready"
    yield model
    await model.close()


async def test_rows_are_answered_as_the_graph_answers_them(model):
    arrays = batch()
    arrays["story_tokens"][1, 3:] = 0
    outputs = await model.run(arrays, ["attention", "answer_probabilities"], None)
    expected = arithmetic(**arrays)
    assert list(outputs) == ["answer_probabilities", "attention"]
    for name, output in outputs.items():
        np.testing.assert_array_equal(output, expected[name])


async def test_rows_run_as_one_batch(model, session):
    session.batches.clear()
    await model.run(batch(), ["attention"], None)
    assert session.batches == [3]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"story_tokens": None}, "'story_tokens' is missing"),
        ({"story": np.zeros(1)}, "no input 'story'"),
        ({"story_tokens": batch()["story_tokens"].astype(np.int32)}, "must be INT64"),
        ({"story_tokens": batch()["question_tokens"]}, "has 2 axes"),
        ({"story_tokens": batch(rows=2)["story_tokens"]}, "different numbers of rows"),
        ({"story_tokens": batch(facts=0)["story_tokens"]}, "'facts' is 0"),
        ({"story_tokens": batch()["story_tokens"] - 9}, "token id -"),
        ({"question_tokens": batch()["question_tokens"] + 90}, "token id 1"),
    ],
)
async def test_arrays_that_do_not_fit_the_manifest_are_refused(model, change, problem):
    arrays = {name: array for name, array in (batch() | change).items() if array is not None}
    with pytest.raises(InvalidRequest, match=problem):
        await model.run(arrays, ["attention"], None)
    assert model.statistics.failures["OTHER"] == 1


@pytest.mark.parametrize("size", [{"rows": 4}, {"facts": 8}, {"words": 7}, {"question_words": 6}])
async def test_arrays_above_a_limit_are_refused(model, size):
    with pytest.raises(InputTooLong):
        await model.run(batch(**size), ["attention"], None)


async def test_unknown_outputs_are_refused(model):
    with pytest.raises(InvalidRequest, match="no output 'gates'"):
        await model.run(batch(), ["gates"], None)


async def test_requests_rows_and_runs_are_counted(model):
    await model.run(batch(), ["attention"], None)
    await model.run(batch(rows=1), ["attention"], None)
    counts = model.statistics
    assert (counts.success.count, counts.inference_count, counts.execution_count) == (2, 4, 2)
    assert {size: durations.infer.count for size, durations in counts.batches.items()} == {3: 1, 1: 1}
    assert counts.success.ns >= counts.compute.infer.ns > 0
    assert counts.queue.count == counts.compute.input.count == counts.compute.output.count == 2
    assert counts.last_inference_ms > 0


async def test_failures_are_counted_by_reason(model, session):
    session.gate.clear()
    with pytest.raises(DeadlineExceeded):
        await model.run(batch(), ["attention"], asyncio.get_running_loop().time() + 0.05)
    running = asyncio.create_task(model.run(batch(), ["attention"], None))
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    session.gate.set()
    session.poison = 7
    with pytest.raises(RunError):
        await model.run(
            {**batch(), "story_tokens": np.full((1, 2, 2), 7), "question_tokens": np.full((1, 1), 2)},
            ["attention"],
            None,
        )
    failures = model.statistics.failures
    assert failures == {"REJECTED": 1, "CANCELED": 1, "BACKEND": 1, "OTHER": 0}
    assert model.statistics.fail.count == 3


def test_rows_of_unequal_length_are_filled_with_zeros():
    rows = [{"steps": np.array([[1], [2]])}, {"steps": np.array([[3], [4], [5]])}]
    joined = stack(rows)["steps"]
    assert joined[..., 0].tolist() == [[1, 2, 0], [3, 4, 5]]
    assert stack(rows[:1])["steps"].shape == (1, 2, 1)


async def test_ids_of_pieces_of_words_are_checked_like_words(model):
    pieces = Subwords.learn([], 260)
    cut_to_pieces = dataclasses.replace(model.bundle, vocabulary=None, subwords=pieces)
    arrays = batch()
    arrays["question_tokens"][0, 0] = len(pieces) - 1
    assert check_batch(cut_to_pieces, arrays, ["attention"], 3) == 3
    arrays["question_tokens"][0, 0] = len(pieces)
    with pytest.raises(InvalidRequest, match="the token id 260, this model knows 0 to 259"):
        check_batch(cut_to_pieces, arrays, ["attention"], 3)
