"""Hugging Face's own client against the application in process."""

import httpx2
import pytest
from huggingface_hub import AsyncInferenceClient, set_async_client_factory
from huggingface_hub.errors import HfHubHTTPError

from server.errors import Overloaded
from tests.server.api.conftest import STORY

CONTEXT = " ".join(STORY)
URL = "http://engram/hf/tiny"
BODY = {"inputs": {"question": "Where is the milk?", "context": CONTEXT}}


@pytest.fixture
def inference(app):
    def open_client():
        transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
        return httpx2.AsyncClient(transport=transport)

    set_async_client_factory(open_client)
    return AsyncInferenceClient(model=URL, token="secret")


async def test_its_client_gets_an_answer_that_points_into_the_context(inference):
    answer = await inference.question_answering(question="Where is the milk?", context=CONTEXT)
    assert answer.answer == "office"
    assert 0 < answer.score <= 1
    assert CONTEXT[answer.start : answer.end] in STORY
    assert answer.attention["axes"][1]["labels"] == STORY


async def test_its_client_gets_as_many_answers_as_it_asks_for(inference):
    answers = await inference.question_answering(
        question="Where is the milk?", context=CONTEXT, top_k=3, doc_stride=5
    )
    assert len(answers) == 3
    assert answers[0].score >= answers[1].score >= answers[2].score
    mentioned = {answer.answer: CONTEXT[answer.start : answer.end] for answer in answers}
    assert mentioned["garden"] == "garden" if "garden" in mentioned else True


async def test_unknown_words_and_long_contexts_are_taken_and_told(client):
    long = " ".join([*STORY, "The zebra went to the hall."] * 3)
    answer = (await client.post("/hf/tiny", json={"inputs": {**BODY["inputs"], "context": long}})).json()
    assert any("zebra" in warning for warning in answer["warnings"])
    assert any("oldest" in warning for warning in answer["warnings"])
    assert answer["start"] >= long.index("zebra")


async def test_its_client_is_told_what_is_wrong(inference, model):
    model.failure = Overloaded("the queue is full", 2.0)
    with pytest.raises(HfHubHTTPError) as refused:
        await inference.question_answering(question="Where is the milk?", context=CONTEXT)
    assert refused.value.response.status_code == 429
    assert refused.value.response.headers["retry-after"] == "2"


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("tiny", {}, 422, "inputs: is missing"),
        ("tiny", {"inputs": {"question": "Who?", "context": ""}}, 422, "story has no sentences"),
        ("tiny", {**BODY, "parameters": {"top_k": 0}}, 422, "parameters.top_k"),
        ("other", BODY, 404, "there is no model 'other'"),
    ],
    ids=["empty", "no-context", "top-k", "no-model"],
)
async def test_errors_are_plain_text(client, path, body, status, text):
    response = await client.post(f"/hf/{path}", json=body)
    assert response.status_code == status
    assert text in response.json()["error"]


async def test_a_model_of_another_task_is_refused(client, model):
    class Other:
        name = "point"

    model.task = Other()
    response = await client.post("/hf/tiny", json=BODY)
    assert response.status_code == 422
    assert "this form knows qa, read" in response.json()["error"]


async def test_a_model_that_is_not_ready_says_so(client, model):
    model.state = "failed"
    response = await client.post("/hf/tiny", json=BODY)
    assert (response.status_code, response.json()["error"]) == (503, "tiny is failed")
