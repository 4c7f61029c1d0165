"""What is served, and whether requests should be sent."""

import msgspec

from server.api.lifecycle import Stage
from server.api.models import ModelList
from server.runtime.options import RuntimeOptions
from server.runtime.repository import Repository
from tests.server.api.test_errors import check_envelope
from tests.server.fakes import WORDS, FakeSession, rewrite, write_bundle


async def test_models_are_listed_and_shown(client):
    assert (await client.get("/v1/models")).json()["models"][0]["name"] == "tiny"
    assert (await client.get("/v1/models/tiny")).json()["name"] == "tiny"


async def test_card_is_what_the_repository_tells(repository_folder):
    rewrite(write_bundle(repository_folder / "broken"), limits={}, default=False)
    repository = Repository(repository_folder, RuntimeOptions(), open_session=lambda *_: FakeSession())
    await repository.start()
    broken, tiny = msgspec.convert(repository.describe(), ModelList).models
    assert (tiny.state, tiny.task, tiny.parity) == ("ready", "qa", {"cases": 2})
    assert broken.state == "failed"
    assert broken.reason
    await repository.close()


async def test_unknown_model_lists_those_that_exist(client):
    for path in ("/v1/models/nobody", "/v1/models/nobody/vocabulary", "/v1/models/..%2Fetc"):
        response = await client.get(path)
        if response.json()["error"]["code"] != "not_found":
            assert check_envelope(response, 404, "model_not_found")["details"]["models"] == ["tiny:1"]


async def test_vocabulary_lists_words_in_the_order_of_their_ids(client):
    vocabulary = (await client.get("/v1/models/tiny/vocabulary")).json()
    assert vocabulary == {"model": "tiny:1", "words": WORDS}


async def test_vocabulary_of_a_model_that_is_not_read_yet_is_not_ready(client, model):
    model.bundle, model.state, model.reason = None, "failed", "a checksum differs"
    check_envelope(await client.get("/v1/models/tiny/vocabulary"), 503, "model_not_ready")


async def test_live_answers_whatever_happens(client, repository, app):
    repository.ready, app.lifecycle.stage = False, Stage.STOPPING
    assert (await client.get("/health/live")).json() == {"status": "live"}


async def test_ready_follows_the_models(client, repository):
    assert (await client.get("/health/ready")).json() == {"status": "ready"}
    repository.ready = False
    error = check_envelope(await client.get("/health/ready"), 503, "model_not_ready")
    assert error["details"]["models"][0]["name"] == "tiny"


async def test_draining_server_is_not_ready_and_still_answers(client, app):
    app.lifecycle.stage = Stage.DRAINING
    check_envelope(await client.get("/health/ready"), 503, "shutting_down")
    assert (await client.get("/v1/models")).status_code == 200


async def test_lifespan_starts_and_closes_the_repository(app, repository):
    async with app.router.lifespan_context(app):
        assert repository.started
        assert not repository.closed
    assert repository.closed
    assert app.lifecycle.stage is Stage.STOPPING


async def test_head_is_answered_like_get_without_a_body(client):
    assert (await client.head("/health/live")).status_code == 200
