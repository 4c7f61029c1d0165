"""Hugging Face's own client has texts translated by the application in process."""

import httpx2
import pytest
from huggingface_hub import AsyncInferenceClient, set_async_client_factory
from huggingface_hub.errors import HfHubHTTPError

from server.api.hugging_face.translation import TranslationForm, TranslationInput
from server.app import create_app
from server.errors import ExecutorLost, InvalidRequest, Overloaded, RunError
from server.settings import Settings
from server.tasks.translating_form import Failure, TranslateAnswer, Translation
from tests.server.copying import copying_repository

TEXT = "A dog runs.\nTwo women!"


@pytest.fixture
async def transport(tmp_path, monkeypatch):
    app = create_app(Settings(grpc_port=0, metrics_port=0), copying_repository(tmp_path, monkeypatch))
    async with app.router.lifespan_context(app):
        yield httpx2.ASGITransport(app=app, raise_app_exceptions=False)


@pytest.fixture
def inference(transport):
    set_async_client_factory(lambda: httpx2.AsyncClient(transport=transport))
    return AsyncInferenceClient(model="http://engram/hf/copy-memory", token="secret")


async def test_its_client_gets_a_translation_with_where_the_model_looked(inference):
    found = await inference.translation(TEXT)
    assert found.translation_text == TEXT
    assert found.score == pytest.approx(-0.25)
    assert found.attention["kind"] == "memory_activity"


async def test_its_client_says_the_languages_and_how_to_search(inference):
    found = await inference.translation(
        TEXT, src_lang="en_XX", tgt_lang="fr-CA", generate_parameters={"num_beams": 2, "max_new_tokens": 2}
    )
    assert found.translation_text != TEXT


async def test_its_client_is_told_what_is_wrong(inference):
    with pytest.raises(HfHubHTTPError) as refused:
        await inference.translation(TEXT, src_lang="en", tgt_lang="de")
    assert refused.value.response.status_code == 422
    assert "copy-memory has target 'fr', the request 'de'" in refused.value.response.json()["error"]


async def test_several_texts_come_back_as_several_or_not_at_all(transport):
    async with httpx2.AsyncClient(transport=transport, base_url="http://engram") as client:
        both = await client.post("/hf/copy-attention", json={"inputs": [TEXT, "A map."]})
        assert [one["translation_text"] for one in both.json()] == [TEXT, "A map."]
        wrong = await client.post("/hf/copy-attention", json={"inputs": [TEXT, "..."]})
        assert (wrong.status_code, wrong.json()["error"]) == (422, "texts[1] has no words")


@pytest.mark.parametrize(
    "error",
    [
        Overloaded("full", 2.5),
        ExecutorLost("gone"),
        RunError("broken"),
        InvalidRequest("no", fields=["text"]),
    ],
    ids=lambda error: error.code,
)
def test_why_a_text_has_no_translation_is_told_as_what_it_is(error):
    answer = TranslateAnswer([Translation(error=Failure(error.code, error.message, dict(error.details)))])
    with pytest.raises(type(error)) as told:
        TranslationForm().respond(TranslationInput(["A."]), answer)
    assert told.value.details == error.details


def test_what_is_not_said_takes_the_defaults():
    request = TranslationForm().request(TranslationInput("A."))
    assert (request.text, request.texts, request.beam_size, request.max_length) == ("A.", None, 1, None)
    assert (request.source, request.target) == (None, None)
