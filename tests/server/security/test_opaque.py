"""No error body ever holds a path, a traceback or a name from inside, whatever goes wrong."""

import orjson
import pytest

from server import errors
from server.api import http_errors
from server.api.lifecycle import Stage
from tests.server.api.conftest import QUESTION
from tests.server.api.test_errors import BAD

INSIDE = (
    "Traceback",
    'File "',
    "/tmp",
    "/home",
    "/root",
    "/usr",
    "/opt/",
    "site-packages",
    ".py",
    "server.",
    "onnxruntime",
    "msgspec",
    "starlette",
    "uvicorn",
    "Exception",
    "Error:",
    "object at 0x",
    "NoneType",
)


def check_opaque(text):
    assert [word for word in INSIDE if word in text] == []


def families_of(error):
    return [error, *(cls for child in error.__subclasses__() for cls in families_of(child))]


FAILURES = {
    "a bug": KeyError("/tmp/secret/server.py"),
    "a file": FileNotFoundError(2, "No such file or directory", "/opt/models/secret.onnx"),
    "memory": MemoryError(),
    "recursion": RecursionError("maximum recursion depth exceeded"),
    "a run": errors.RunError("bad node in /tmp/secret/model.onnx"),
    "unicode": UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("path", ["/v1/qa", "/v1/qa/batch"])
async def test_what_is_behind_a_failure_stays_inside(client, model, path, failure):
    model.failure = failure
    body = {"requests": [QUESTION]} if path.endswith("batch") else QUESTION
    response = await client.post(path, json=body)
    assert '"internal"' in response.text
    check_opaque(response.text)


@pytest.mark.parametrize(("body", "headers", "status", "code"), BAD.values(), ids=BAD.keys())
async def test_every_bad_request_is_told_in_our_own_words(client, body, headers, status, code):
    for path in ("/v1/qa", "/v2/models/tiny/infer", "/v2/repository/index"):
        response = await client.post(path, content=body, headers=headers)
        assert response.status_code < 500
        check_opaque(response.text)
    assert code in (await client.post("/v1/qa", content=body, headers=headers)).text


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1/qa",
        "/v1/models/..%2f..%2fetc%2fpasswd",
        "/v1/models/tiny/vocabulary",
        "/v1/models/nobody",
        "/v2/models/../../etc",
        "/v2/models/nobody/versions/9/infer",
        "/v2/repository/models/..%2Fetc/load",
        "/v2/systemsharedmemory/region/x/register",
        "/docs/../server/app.py",
        "/openapi.json",
        "/%00",
        "/\N{SNOWMAN}",
    ],
)
async def test_every_path_and_method_stays_opaque(client, method, path):
    response = await client.request(method, path, content=b"{")
    assert response.status_code < 500 or response.json()["error"]
    if response.status_code >= 400:
        check_opaque(response.text)


@pytest.mark.parametrize("stage", [Stage.DRAINING, Stage.STOPPING])
async def test_a_server_that_stops_stays_opaque(app, client, stage):
    app.lifecycle.stage = stage
    for path in ("/health/ready", "/v2/health/ready"):
        response = await client.get(path)
        assert response.status_code >= 400
        check_opaque(response.text)


async def test_a_broken_bundle_is_told_without_its_place(client, model):
    model.state, model.reason = "failed", "1/model.onnx was altered: its checksum is not the manifest's"
    response = await client.post("/v1/qa", content=orjson.dumps(QUESTION))
    assert response.status_code == 503
    check_opaque(response.text)


@pytest.mark.parametrize("error", families_of(errors.EngramError), ids=lambda cls: cls.__name__)
def test_codes_are_words_of_ours(error):
    assert issubclass(http_errors.NotFound, errors.EngramError)
    check_opaque(error.code)
