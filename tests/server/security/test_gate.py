"""The door: what needs a key, what does not, and what a refusal says."""

import logging

import pytest

from server.app import create_app
from server.settings import Settings
from tests.server.api.conftest import QUESTION
from tests.server.security.conftest import ADMIN, AS_ADMIN, BEARER, KEY

OPEN = ["/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready"]
DOCS = ["/docs", "/openapi.json", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css"]
ORIGIN = {"Origin": "https://shop.example"}
PREFLIGHT = {
    **ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization, content-type",
}
CLOSED = ["/v1/models", "/v1/models/tiny", "/v2", "/v2/models/tiny", "/v2/models/stats", "/nowhere", "/"]


@pytest.mark.parametrize("path", CLOSED)
async def test_everything_needs_a_key(guarded, path):
    response = await guarded.get(path)
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert (await guarded.get(path, headers=BEARER)).status_code != 401


async def test_questions_need_a_key(guarded):
    assert (await guarded.post("/v1/qa", json=QUESTION)).status_code == 401
    assert (await guarded.post("/v1/qa", json=QUESTION, headers=BEARER)).status_code == 200
    assert (await guarded.post("/v1/qa", json=QUESTION, headers={"X-API-Key": KEY})).status_code == 200
    assert (await guarded.post("/v1/qa", json=QUESTION, headers={"X-API-Key": "wrong"})).status_code == 401


@pytest.mark.parametrize("path", [*OPEN, *DOCS])
async def test_probes_and_documentation_are_open(guarded, path):
    assert (await guarded.get(path)).status_code == 200


@pytest.mark.parametrize(
    "path", ["/health/live/", "/HEALTH/LIVE", "//health/live", "/health/live%2f..%2f..%2fv1"]
)
async def test_what_only_looks_like_a_probe_is_not_open(guarded, path):
    assert (await guarded.get(path)).status_code == 401


async def test_which_models_are_not_ready_is_told_only_with_a_key(open_client):
    async with open_client(api_keys=KEY) as client:
        client._transport.app.repository.ready = False
        stranger = await client.get("/health/ready")
        assert stranger.status_code == 503
        assert stranger.json()["error"]["details"] == {}
        known = await client.get("/health/ready", headers=BEARER)
        assert known.json()["error"]["details"]["models"]


async def test_a_refusal_has_the_form_of_every_error(guarded):
    error = (await guarded.get("/v1/models")).json()["error"]
    assert set(error) == {"code", "message", "details", "request_id"}
    assert error["code"] == "unauthorized"
    assert set((await guarded.get("/v2/models/tiny")).json()) == {"error"}
    assert isinstance((await guarded.get("/v2/models/tiny")).json()["error"], str)


async def test_a_key_is_asked_for_before_the_body_is_read(guarded):
    async def endless():
        yield b"{"
        raise AssertionError("the body was read")

    assert (await guarded.post("/v1/qa", content=endless())).status_code == 401


async def test_the_log_names_the_key_and_never_holds_it(guarded, caplog):
    with caplog.at_level(logging.DEBUG):
        await guarded.post("/v1/qa", json=QUESTION, headers=BEARER)
        await guarded.get("/v1/models", headers={"X-API-Key": "mistyped" + KEY})
    lines = [record.fields for record in caplog.records if record.message == "request"]
    assert [line.get("key") for line in lines] == ["shop", None]
    assert KEY not in caplog.text + str(lines)


async def test_load_and_unload_are_forbidden_until_there_is_an_admin_key(open_client):
    for settings in ({}, {"api_keys": KEY}):
        async with open_client(**settings) as client:
            for verb in ("load", "unload"):
                response = await client.post(f"/v2/repository/models/tiny/{verb}", json={}, headers=BEARER)
                assert response.status_code == 403
                assert "ENGRAM_ADMIN_KEYS" in response.json()["error"]


async def test_load_and_unload_need_the_admin_key(open_client, guarded):
    path = "/v2/repository/models/tiny/load"
    async with open_client(admin_keys=ADMIN) as client:
        assert (await client.post(path, json={})).status_code == 401
        assert (await client.post(path, json={}, headers=BEARER)).status_code == 401
        assert (await client.post(path, json={}, headers=AS_ADMIN)).status_code not in (401, 403)
    assert (await guarded.post(path, json={})).status_code == 401
    assert (await guarded.post(path, json={}, headers=BEARER)).status_code == 403


async def test_documentation_can_be_closed(open_client):
    async with open_client(api_keys=KEY, protect_docs=True) as client:
        for path in DOCS:
            assert (await client.get(path)).status_code == 401
            assert (await client.get(path, headers=BEARER)).status_code == 200


async def test_metrics_can_be_closed(open_client, guarded):
    async with open_client(api_keys=KEY, protect_metrics=True) as client:
        assert (await client.get("/metrics")).status_code == 401
    assert (await guarded.get("/metrics")).status_code != 401


@pytest.mark.parametrize("setting", ["protect_metrics", "protect_docs"])
def test_what_is_to_be_closed_needs_keys(setting):
    with pytest.raises(ValueError, match=f"ENGRAM_{setting.upper()} needs keys"):
        create_app(Settings(**{setting: True}))


async def test_the_documentation_needs_no_network(guarded):
    page = await guarded.get("/docs")
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert "default-src 'self'" in page.headers["content-security-policy"]
    script = await guarded.get("/docs/swagger-ui-bundle.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert len(script.content) > 500_000


class TestOrigins:
    async def test_no_origin_may_call_by_default(self, guarded):
        response = await guarded.get("/health/live", headers=ORIGIN)
        assert "access-control-allow-origin" not in response.headers
        assert (await guarded.options("/v1/qa", headers=PREFLIGHT)).status_code == 401

    async def test_named_origins_may_call(self, open_client):
        async with open_client(api_keys=KEY, cors_origins="https://shop.example") as client:
            preflight = await client.options("/v1/qa", headers=PREFLIGHT)
            assert preflight.status_code == 200
            assert preflight.headers["access-control-allow-origin"] == "https://shop.example"
            assert "authorization" in preflight.headers["access-control-allow-headers"]
            answer = await client.post("/v1/qa", json=QUESTION, headers={**BEARER, **ORIGIN})
            assert answer.headers["access-control-allow-origin"] == "https://shop.example"
            assert "X-Request-Id" in answer.headers["access-control-expose-headers"]

    async def test_a_page_can_read_why_it_was_refused(self, open_client):
        async with open_client(api_keys=KEY, cors_origins="https://shop.example") as client:
            refused = await client.post("/v1/qa", json=QUESTION, headers=ORIGIN)
            assert refused.status_code == 401
            assert refused.headers["access-control-allow-origin"] == "https://shop.example"

    async def test_other_origins_may_not(self, open_client):
        async with open_client(cors_origins="https://shop.example") as client:
            answer = await client.get("/health/live", headers={"Origin": "https://evil.example"})
            assert "access-control-allow-origin" not in answer.headers
