import asyncio
import json

import pytest

from server.errors import DeadlineExceeded, ModelNotReady, UnknownWords
from server.runtime.loaded_model import LoadedModel
from server.runtime.options import RuntimeOptions
from server.tasks.question_answering import QaRequest
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
        ({"task": "translate"}, "no task 'translate', it has qa"),
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
