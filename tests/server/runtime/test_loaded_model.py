import asyncio
import json

import numpy as np
import pytest

from server.errors import DeadlineExceeded, ModelNotReady, ShuttingDown, UnknownWords
from server.runtime.loaded_model import LoadedModel
from server.runtime.options import RuntimeOptions
from server.tasks import TASKS
from server.tasks.question_answering import QaRequest
from tests.server.counting import Counting, CountRequest, alone, step_probes, write_counting_bundle
from tests.server.fakes import ANSWERS, FakeSession, rewrite

REQUEST = QaRequest(story=["Anna went to the garden.", "Ben took the lamp."], question="Where is Anna?")


@pytest.fixture
def folder(repository_folder):
    return repository_folder / "tiny"


async def load(folder, session=None, **options):
    opened = {"open_session": lambda bundle, runtime, device: session} if session else {}
    model = LoadedModel(folder, 1, RuntimeOptions(**options), **opened)
    await model.load()
    return model


async def test_a_loaded_model_answers(folder):
    model = await load(folder)
    assert (model.state, model.reason, model.runtime, model.device) == ("ready", None, "onnx", "cpu")
    answer, run = await model.answer(REQUEST, None)
    assert answer.answer in ANSWERS
    assert run.batch_size == 1
    await model.close()


async def test_requests_together_share_a_batch_and_answer_as_alone(folder):
    model = await load(folder)
    longer = QaRequest(
        story=[*REQUEST.story, "Anna is in the big hall."], question="Who?", unknown_words="map"
    )
    together = await asyncio.gather(*(model.answer(request, None) for request in (REQUEST, longer)))
    assert [run.batch_size for _, run in together] == [2, 2]
    for request, (answer, _) in zip((REQUEST, longer), together, strict=True):
        alone, _ = await model.answer(request, None)
        assert answer.alternatives == alone.alternatives
        assert (answer.attention.weights == alone.attention.weights).all()
    await model.close()


async def test_a_refused_request_never_reaches_the_graph(folder, session):
    model = await load(folder, session)
    replayed = len(session.batches)
    with pytest.raises(UnknownWords):
        await model.answer(QaRequest(story=["Zebra."], question="Who?"), None)
    with pytest.raises(DeadlineExceeded):
        await model.answer(REQUEST, 0.0)
    assert len(session.batches) == replayed
    await model.close()


async def test_every_executor_has_a_session_that_passed_the_probes(folder):
    sessions = []

    def open_session(bundle, runtime, device):
        sessions.append(FakeSession())
        return sessions[-1]

    model = LoadedModel(folder, 1, RuntimeOptions(executors=3, warm_up=False), open_session)
    await model.load()
    assert [session.batches for session in sessions] == [[1, 1, 2]] * 3
    await model.close()
    assert all(session.closed for session in sessions)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"task": "paint"}, "task: Input should be 'qa', 'translate'"),
        ({"limits": {}}, "max_facts"),
        ({"runtime": "triton"}, "no runtime 'triton'"),
        ({"graphs": {"model": "model.onnx"}}, "no 'golden' file"),
        ({"answers": ["yes"]}, "answer_probabilities"),
    ],
    ids=["task", "limit", "runtime", "probes", "answers"],
)
async def test_a_bundle_this_server_cannot_serve_fails_with_the_reason(folder, change, reason):
    rewrite(folder, **change)
    model = await load(folder)
    assert model.state == "failed"
    assert reason in model.reason
    with pytest.raises(ModelNotReady, match="tiny:1 is failed") as caught:
        await model.answer(REQUEST, None)
    assert reason in caught.value.message


async def test_a_session_that_fails_the_probes_is_closed_and_the_reason_says_where(folder, session):
    run = session.run
    session.run = lambda inputs, outputs: {name: array * 2 for name, array in run(inputs, outputs).items()}
    model = await load(folder, session)
    assert model.state == "failed"
    assert model.reason.startswith("probe 0: output 'answer_probabilities' differs by")
    assert session.closed


async def test_the_unexpected_stays_in_the_log(folder, caplog):
    (folder / "1" / "parity.json").write_text("not JSON")
    rewrite(folder)
    model = await load(folder)
    assert model.state == "failed"
    assert model.reason == "an unexpected error came up while loading; the log has it"
    assert "JSONDecodeError" in caplog.text


async def test_a_model_that_is_still_loading_says_so(folder):
    model = LoadedModel(folder, 1, RuntimeOptions())
    with pytest.raises(ModelNotReady, match="tiny:1 is loading"):
        await model.answer(REQUEST, None)


async def test_the_description_is_plain_json_and_tells_what_runs_where(folder):
    model = await load(folder)
    about = json.loads(json.dumps(model.describe()))
    assert {name: about[name] for name in ("name", "version", "state", "task", "runtime", "device")} == {
        "name": "tiny",
        "version": 1,
        "state": "ready",
        "task": "qa",
        "runtime": "onnx",
        "device": "cpu",
    }
    assert about["parity"] == {"cases": 2}
    assert about["limits"]["max_facts"] == 7
    await model.close()


async def test_a_closed_model_is_unloaded(folder, session):
    model = await load(folder, session)
    await model.drain()
    await model.close()
    assert session.closed
    with pytest.raises(ModelNotReady, match="unloaded"):
        await model.answer(REQUEST, None)


@pytest.mark.parametrize(
    "wrong", [{"executors": 0}, {"max_queue_cost": 0}, {"device": "tpu"}], ids=lambda wrong: next(iter(wrong))
)
def test_options_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RuntimeOptions(**wrong)


@pytest.fixture
def counting(tmp_path, monkeypatch):
    """Return the folder of a bundle that is driven step by step."""
    monkeypatch.setitem(TASKS, "compute", Counting)
    return write_counting_bundle(tmp_path / "counting")


async def test_a_stepwise_model_walks_and_streams(counting):
    model = await load(counting, executors=2)
    assert (model.state, model.reason, model.executors) == ("ready", None, 2)
    events = []
    request = CountRequest([4, 2, 6], steps=4, beam=2)
    answer, run = await model.answer(request, None, on_events=events.extend)
    assert (answer, events) == alone(request)
    assert run.batch_size == 1
    assert model.statistics.steps == 4
    assert model.statistics.success.count == 1
    assert (model.running, model.waiting) == (0, (0, 0))
    await model.close()


async def test_requests_to_a_stepwise_model_walk_together_as_if_alone(counting):
    model = await load(counting)
    requests = [CountRequest([3], steps=3), CountRequest([1, 6, 2, 8], steps=5), CountRequest([2], steps=1)]
    answered = await asyncio.gather(*(model.answer(request, None) for request in requests))
    assert [answer for answer, _ in answered] == [alone(request)[0] for request in requests]
    assert max(run.batch_size for _, run in answered) == 3
    await model.close()


async def test_the_whole_graph_of_a_stepwise_model_takes_raw_arrays(counting):
    model = await load(counting)
    outputs = await model.run({"numbers": np.array([[4, 2], [1, 1]])}, ["total"], None)
    assert outputs["total"].tolist() == [6, 2]
    await model.close()


async def test_a_draining_stepwise_model_refuses(counting):
    model = await load(counting)
    await model.drain()
    with pytest.raises(ShuttingDown):
        await model.answer(CountRequest([3]), None)
    await model.close()


async def test_a_stage_whose_probes_do_not_hold_is_not_ready(counting):
    probes = step_probes()
    probes.outputs[1]["scores"][3] += 1
    probes.save(counting / "1/step_golden.npz")
    rewrite(counting)
    model = await load(counting)
    assert model.state == "failed"
    assert "output 'scores' differs by 1 at [3]" in model.reason


async def test_stages_are_for_tasks_that_are_driven_step_by_step(folder, counting):
    stages = json.loads((counting / "manifest.json").read_text())
    rewrite(folder, stages=stages["stages"], graphs=stages["graphs"])
    assert (await load(folder)).reason == "task qa knows no stages"
    rewrite(counting, stages={})
    assert (await load(counting)).reason == "task compute needs stages"


async def test_torchscript_without_a_graph_of_the_stage_is_not_ready(counting):
    model = await load(counting, runtime="torchscript")
    assert "this bundle has no 'torchscript' file" in model.reason
