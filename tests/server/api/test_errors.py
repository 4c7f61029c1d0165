"""Every bad request there is, and the one envelope all of them get."""

import asyncio
import gzip
import logging
import zlib

import msgspec
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server import errors
from server.api.lifecycle import Stage
from tests.server.api.conftest import QUESTION, STORY

GZIP = {"Content-Encoding": "gzip"}


def with_(**fields):
    return orjson.dumps({**QUESTION, **fields})


BAD = {
    "empty story": (with_(story=[]), {}, 422, "invalid_request"),
    "empty text": (with_(story=""), {}, 422, "invalid_request"),
    "blank fact": (with_(story=["Anna took the milk.", " . "]), {}, 422, "invalid_request"),
    "empty question": (with_(question="?"), {}, 422, "invalid_request"),
    "too many facts": (with_(story=["Anna went."] * 1500), {}, 422, "input_too_long"),
    "too many words": (with_(story=["Anna " * 12]), {}, 422, "input_too_long"),
    "long question": (with_(question="milk " * 6), {}, 422, "input_too_long"),
    "unknown words": (with_(question="Where is the mlik?"), {}, 422, "unknown_words"),
    "story a number": (with_(story=3), {}, 422, "invalid_request"),
    "fact a number": (with_(story=["Anna went.", 5]), {}, 422, "invalid_request"),
    "question null": (with_(question=None), {}, 422, "invalid_request"),
    "no question": (orjson.dumps({"story": STORY}), {}, 422, "invalid_request"),
    "unknown field": (with_(temperature=1), {}, 422, "invalid_request"),
    "top_k zero": (with_(top_k=0), {}, 422, "invalid_request"),
    "top_k huge": (with_(top_k=2**62), {}, 422, "invalid_request"),
    "attention form": (with_(attention="some"), {}, 422, "invalid_request"),
    "timeout zero": (with_(timeout_ms=0), {}, 422, "invalid_request"),
    "timeout header": (with_(), {"X-Timeout-Ms": "soon"}, 422, "invalid_request"),
    "timeout header nan": (with_(), {"X-Timeout-Ms": "nan"}, 422, "invalid_request"),
    "timeout header infinite": (with_(), {"X-Timeout-Ms": "inf"}, 422, "invalid_request"),
    "body a list": (b"[]", {}, 422, "invalid_request"),
    "body null": (b"null", {}, 422, "invalid_request"),
    "empty body": (b"", {}, 400, "malformed_json"),
    "nan": (b'{"story": ["a"], "question": "b", "top_k": NaN}', {}, 400, "malformed_json"),
    "infinity": (b'{"story": ["a"], "question": "b", "timeout_ms": -Infinity}', {}, 400, "malformed_json"),
    "nan after a wrong type": (b'{"story": 3, "question": NaN}', {}, 400, "malformed_json"),
    "overflowing number": (
        b'{"story": ["a"], "question": "b", "timeout_ms": 1e999}',
        {},
        400,
        "malformed_json",
    ),
    "truncated": (with_()[:-5], {}, 400, "malformed_json"),
    "two documents": (with_() * 2, {}, 400, "malformed_json"),
    "byte order mark": (b"\xef\xbb\xbf" + with_(), {}, 400, "malformed_json"),
    "utf-16": (with_().decode().encode("utf-16"), {}, 400, "malformed_json"),
    "invalid utf-8": (with_().replace(b"milk", b"\xff\xfe"), {}, 400, "malformed_json"),
    "lone surrogate": (with_().replace(b"milk", b"\\ud800"), {}, 400, "malformed_json"),
    "deep lists": (b"[" * 9000 + b"]" * 9000, {}, 400, "malformed_json"),
    "deep objects": (b'{"story":' * 1900 + b"1" + b"}" * 1900, {}, 400, "malformed_json"),
    "huge body": (b" " * 20_001, {}, 413, "payload_too_large"),
    "zip bomb": (gzip.compress(b" " * 9_000_000), GZIP, 413, "payload_too_large"),
    "huge compressed body": (b"\0" * 20_001, GZIP, 413, "payload_too_large"),
    "not gzip": (with_(), GZIP, 400, "malformed_json"),
    "cut gzip": (gzip.compress(with_())[:-9], GZIP, 400, "malformed_json"),
    "two gzip members": (gzip.compress(with_()) * 2, GZIP, 400, "malformed_json"),
    "zlib as gzip": (zlib.compress(with_()), GZIP, 400, "malformed_json"),
    "unsupported encoding": (with_(), {"Content-Encoding": "br"}, 415, "unsupported_encoding"),
    "stacked encodings": (with_(), {"Content-Encoding": "gzip, gzip"}, 415, "unsupported_encoding"),
    "unknown model": (with_(model="nobody"), {}, 404, "model_not_found"),
    "path as model": (with_(model="../../etc/passwd"), {}, 404, "model_not_found"),
    "unacceptable": (with_(), {"Accept": "text/html"}, 406, "not_acceptable"),
    "refused json": (with_(), {"Accept": "application/json;q=0, text/*"}, 406, "not_acceptable"),
}


def check_envelope(response, status, code):
    assert response.status_code == status
    assert set(response.json()) == {"error"}
    error = response.json()["error"]
    assert set(error) == {"code", "message", "details", "request_id"}
    assert error["code"] == code
    assert error["message"]
    assert error["request_id"] == response.headers["x-request-id"]
    assert response.headers["content-type"] == "application/json"
    check_opaque(response.text)
    return error


def check_opaque(text):
    assert "Traceback" not in text
    assert 'File "' not in text
    assert "/tmp" not in text
    assert "site-packages" not in text


@pytest.mark.parametrize(("body", "headers", "status", "code"), BAD.values(), ids=BAD.keys())
async def test_bad_request_gets_its_code(client, body, headers, status, code):
    check_envelope(await client.post("/v1/qa", content=body, headers=headers), status, code)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (with_(story=["Anna went.", 5]), "story[1]"),
        (with_(story=["Anna went.", ""]), "story[1]"),
        (with_(question=None), "question"),
        (with_(top_k="many"), "top_k"),
        (orjson.dumps({"story": STORY}), "question"),
        (with_(colour="red"), "colour"),
        (b"[]", "body"),
    ],
)
async def test_invalid_request_names_the_field(client, body, field):
    error = check_envelope(await client.post("/v1/qa", content=body), 422, "invalid_request")
    assert error["details"]["fields"] == [field]
    assert error["message"].startswith(field)


async def test_unknown_words_come_with_the_nearest_known_ones(client):
    error = (await client.post("/v1/qa", content=with_(question="Where is the mlik?"))).json()["error"]
    assert error["details"]["words"][0]["word"] == "mlik"
    assert "milk" in error["details"]["words"][0]["nearest"]


async def test_unsupported_encoding_says_what_is_supported(client):
    response = await client.post("/v1/qa", content=with_(), headers={"Content-Encoding": "zstd"})
    assert response.headers["accept-encoding"] == "gzip, deflate, identity"


async def test_unknown_path_is_not_found(client):
    for path in ("/", "/v1", "/v1/qa/", "/v1/nothing", "/health", "/v1/models/a/b/c"):
        check_envelope(await client.get(path), 404, "not_found")


async def test_wrong_method_lists_the_right_one(client):
    response = await client.get("/v1/qa")
    error = check_envelope(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"
    assert error["details"]["allow"] == ["POST"]
    response = await client.delete("/v1/models")
    assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD"}


async def test_get_routes_refuse_what_is_not_json(client):
    check_envelope(await client.get("/v1/models", headers={"Accept": "image/png"}), 406, "not_acceptable")


async def test_deadline_is_answered_when_it_passes(client, model):
    model.gate.clear()
    check_envelope(await client.post("/v1/qa", content=with_(timeout_ms=20)), 504, "deadline_exceeded")


async def test_body_that_never_ends_meets_the_deadline(app, client):
    async def slowly():
        yield b"{"
        await asyncio.sleep(10)

    response = await client.post("/v1/qa", content=slowly(), headers={"X-Timeout-Ms": "20"})
    check_envelope(response, 504, "deadline_exceeded")


async def test_overload_says_when_to_come_back(client, model):
    model.failure = errors.Overloaded("the queue is full", retry_after_s=2.2)
    response = await client.post("/v1/qa", content=with_())
    error = check_envelope(response, 429, "overloaded")
    assert response.headers["retry-after"] == "3"
    assert error["details"]["retry_after_s"] == 2.2


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (errors.ModelNotReady("tiny is loading"), 503, "model_not_ready"),
        (errors.ShuttingDown("draining"), 503, "shutting_down"),
        (errors.ExecutorLost("the executor died"), 503, "executor_lost"),
        (errors.BundleError("a checksum differs"), 503, "model_not_ready"),
    ],
)
async def test_failure_of_the_runtime_has_its_status(client, model, failure, status, code):
    model.failure = failure
    check_envelope(await client.post("/v1/qa", content=with_()), status, code)


@pytest.mark.parametrize("path", ["/v1/qa", "/v1/qa/batch"])
@pytest.mark.parametrize(
    "failure",
    [errors.RunError("bad node in /tmp/secret/model.onnx"), KeyError("/tmp/secret")],
    ids=["run", "bug"],
)
async def test_surprise_is_opaque_outside_and_explained_in_the_log(client, model, caplog, path, failure):
    model.failure = failure
    body = orjson.dumps({"requests": [QUESTION]}) if path.endswith("batch") else with_()
    with caplog.at_level(logging.ERROR):
        response = await client.post(path, content=body)
    assert '"code":"internal"' in response.text
    assert "secret" not in response.text
    check_opaque(response.text)
    assert any(record.exc_info and "secret" in str(record.exc_info[1]) for record in caplog.records)


async def test_stopping_server_takes_no_new_work(app, client):
    app.lifecycle.stage = Stage.STOPPING
    response = await client.post("/v1/qa", content=with_())
    check_envelope(response, 503, "shutting_down")
    assert response.headers["connection"] == "close"


async def test_batch_has_a_size(client):
    for items in ([], [QUESTION] * 6):
        error = check_envelope(
            await client.post("/v1/qa/batch", json={"requests": items}), 422, "invalid_request"
        )
        assert error["details"]["fields"] == ["requests"]
    check_envelope(await client.post("/v1/qa/batch", content=b'{"requests": [NaN]}'), 400, "malformed_json")
    check_envelope(await client.post("/v1/qa/batch", json={}), 422, "invalid_request")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.sampled_from(STORY),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=12,
)
FIELDS = ["story", "question", "model", "top_k", "truncate", "attention", "attention_top_k", "unknown_words"]
NEAR_MISSES = st.fixed_dictionaries(
    {"story": JSON | st.lists(st.text(max_size=30), max_size=9), "question": JSON},
    optional=dict.fromkeys((*FIELDS[2:], "timeout_ms"), JSON),
)
BODIES = (
    st.binary(max_size=200)
    | (JSON | NEAR_MISSES).map(msgspec.json.encode)
    | NEAR_MISSES.map(lambda value: msgspec.json.encode({**QUESTION, **value, "unknown_words": "map"}))
    | st.tuples(NEAR_MISSES.map(msgspec.json.encode), st.integers(0, 200), st.binary(max_size=3)).map(
        lambda cut: cut[0][: cut[1]] + cut[2] + cut[0][cut[1] :]
    )
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=BODIES, accept=st.sampled_from(["*/*", "image/svg+xml", ""]), batch=st.booleans())
async def test_no_body_breaks_the_server(client, body, accept, batch):
    if batch:
        body = b'{"requests": [' + body + b"]}"
    response = await client.post(
        "/v1/qa/batch" if batch else "/v1/qa", content=body, headers={"Accept": "*/*" if batch else accept}
    )
    assert response.status_code in (200, 400, 404, 413, 422)
    assert '"code":"internal"' not in response.text
    check_opaque(response.text)
    if response.status_code != 200:
        check_envelope(response, response.status_code, response.json()["error"]["code"])


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    headers=st.dictionaries(
        st.sampled_from(["Accept", "Accept-Encoding", "Content-Encoding", "X-Timeout-Ms", "X-Request-Id"]),
        st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40),
    )
)
async def test_no_header_breaks_the_server(client, headers):
    raw = {name: value.encode("latin-1") for name, value in headers.items()}
    response = await client.post("/v1/qa", content=with_(), headers=raw)
    assert response.status_code in (200, 400, 406, 413, 415, 422, 504)
