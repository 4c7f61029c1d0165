"""HTTP and gRPC in process, over a session whose runs can be held back."""

import asyncio
import gzip
import json

import grpc
import httpx2
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from server.api.open_inference.grpc_server import start_grpc
from server.app import create_app
from server.runtime.options import RuntimeOptions
from server.runtime.repository import Repository
from server.settings import Settings
from tests.server.open_inference.clients import free_ports

INFER = "/v2/models/tiny/infer"
STORY, QUESTION = np.array([[[2, 3], [4, 5]]]), np.array([[6, 7]])


def body(story=STORY, **more):
    inputs = {"story_tokens": story, "question_tokens": QUESTION}
    entries = [
        {"name": name, "datatype": "INT64", "shape": array.shape, "data": array.tolist()}
        for name, array in inputs.items()
    ]
    return json.dumps({"inputs": entries, **more}).encode()


def message():
    request = pb.ModelInferRequest(model_name="tiny")
    for name, array in (("story_tokens", STORY), ("question_tokens", QUESTION)):
        request.inputs.add(name=name, datatype="INT64", shape=array.shape)
        request.raw_input_contents.append(array.tobytes())
    return request


@pytest.fixture
def settings(request):
    return Settings(gzip_min_bytes=100, max_body_bytes=50_000, **getattr(request, "param", {}))


@pytest.fixture
async def app(settings, repository_folder, session):
    options = RuntimeOptions(warm_up=False, max_queue_cost=64)
    repository = Repository(repository_folder, options, open_session=lambda *_: session)
    app = create_app(settings, repository)
    async with app.router.lifespan_context(app):
        while session.started.acquire(blocking=False):
            pass  # golden probes ran
        yield app


@pytest.fixture
async def http(app):
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://engram") as client:
        yield client


@pytest.fixture
async def stub(app):
    [port] = free_ports(1)
    door = await start_grpc(app.open_inference, "127.0.0.1", port)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)
    await door.stop(None)


@pytest.fixture
def counts(app):
    return app.repository.get("tiny").statistics


async def until(condition):
    """Wait for what the client's own end does not tell."""
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never happened")


# Time and abandoned requests


async def test_an_abandoned_http_request_leaves_the_queue(app, session, counts):
    session.gate.clear()
    messages = [{"type": "http.request", "body": body()}]

    async def receive():
        if messages:
            return messages.pop()
        await session.has_started()
        return {"type": "http.disconnect"}

    async def send(message):
        raise AssertionError("nobody is there to hear it")

    scope = {"type": "http", "method": "POST", "path": INFER, "headers": [], "query_string": b""}
    await app(scope | {"root_path": "", "server": ("engram", 80), "client": None}, receive, send)
    session.gate.set()
    assert counts.failures["CANCELED"] == 1


async def test_a_cancelled_call_leaves_the_queue(stub, session, counts):
    session.gate.clear()
    call = stub.ModelInfer(message())
    await session.has_started()
    call.cancel()
    await until(lambda: counts.failures["CANCELED"])
    session.gate.set()


async def test_the_grpc_deadline_counts(stub, session, counts):
    session.gate.clear()
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await stub.ModelInfer(message(), timeout=0.2)
    assert failure.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await until(lambda: sum(counts.failures.values()))
    session.gate.set()


@pytest.mark.parametrize(
    ("headers", "parameters"),
    [({"X-Timeout-Ms": "50"}, {}), ({}, {"timeout": 50_000})],
    ids=["header", "parameter"],
)
async def test_the_deadline_is_answered_at_the_deadline(http, session, headers, parameters):
    session.gate.clear()
    response = await http.post(INFER, content=body(parameters=parameters), headers=headers)
    session.gate.set()
    assert response.status_code == 504
    assert "deadline" in response.json()["error"]


@pytest.mark.parametrize("wish", [-1, "soon", 1.5, True])
async def test_an_impossible_timeout_is_refused(http, wish):
    response = await http.post(INFER, content=body(parameters={"timeout": wish}))
    assert response.status_code == 400


async def test_overload_says_when_to_come_back(http, stub, session, counts):
    session.gate.clear()
    first = asyncio.create_task(http.post(INFER, content=body()))
    await session.has_started()
    second = asyncio.create_task(http.post(INFER, content=body()))
    await asyncio.sleep(0.05)
    third = await http.post(INFER, content=body())
    assert (third.status_code, int(third.headers["retry-after"]) >= 1) == (429, True)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await stub.ModelInfer(message())
    assert failure.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert int(dict(failure.value.trailing_metadata())["retry-after"]) >= 1
    session.gate.set()
    assert [(await task).status_code for task in (first, second)] == [200, 200]
    assert counts.failures["REJECTED"] == 2


async def test_nan_may_come_in_json(http):
    response = await http.post(INFER, content=body().replace(b"[4, 5]", b"[NaN, 5]"))
    assert response.status_code == 400
    assert "float" in response.json()["error"]  # it was read, and is no integer


# Compression


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_only_answers_to_inferences_are_compressed(http, encoding):
    headers = {"Accept-Encoding": encoding}
    answered = await http.post(INFER, content=body(), headers=headers)
    assert (answered.headers["content-encoding"], answered.status_code) == (encoding, 200)
    for path in ("/v2/models/tiny/config", "/v2/models/tiny/stats"):
        assert "content-encoding" not in (await http.get(path, headers=headers)).headers


async def test_a_bomb_is_defused(http):
    bomb = gzip.compress(b" " * 40_000_000)
    response = await http.post(INFER, content=bomb, headers={"Content-Encoding": "gzip"})
    assert (response.status_code, list(response.json())) == (413, ["error"])


# Keys


KEYS = {"api_keys": "somebody:an-api-key-of-tests", "admin_keys": "root:an-admin-key-of-tests"}
LOAD = "/v2/repository/models/tiny/load"


@pytest.mark.parametrize("settings", [KEYS], indirect=True)
async def test_loading_takes_an_admin_key(http, stub):
    for key, status in (("nobody", 401), ("an-api-key-of-tests", 403), ("an-admin-key-of-tests", 200)):
        response = await http.post(LOAD, json={}, headers={"X-API-Key": key})
        assert response.status_code == status, response.text
    admin = {"Authorization": "Bearer an-admin-key-of-tests"}
    climbing = await http.post("/v2/repository/models/..%2Fetc/load", headers=admin)
    assert climbing.status_code == 400
    override = await http.post(LOAD, json={"parameters": {"config": "{}"}}, headers=admin)
    assert override.status_code == 501
    unknown = await http.post("/v2/repository/models/nobody/load", headers=admin)
    assert unknown.status_code == 404


@pytest.mark.parametrize("settings", [KEYS], indirect=True)
async def test_grpc_asks_for_keys_too(stub):
    assert (await stub.ServerLive(pb.ServerLiveRequest())).live
    for call, key, code in (
        (stub.ServerMetadata(pb.ServerMetadataRequest()), None, grpc.StatusCode.UNAUTHENTICATED),
        (
            stub.ModelInfer(message(), metadata=[("x-api-key", "wrong")]),
            None,
            grpc.StatusCode.UNAUTHENTICATED,
        ),
        (
            stub.RepositoryModelLoad(
                pb.RepositoryModelLoadRequest(model_name="tiny"),
                metadata=[("authorization", "Bearer an-api-key-of-tests")],
            ),
            None,
            grpc.StatusCode.PERMISSION_DENIED,
        ),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await call
        assert failure.value.code() is code, key
    good = [("x-api-key", "an-api-key-of-tests")]
    assert (await stub.ModelInfer(message(), metadata=good)).model_name == "tiny"
    admin = [("x-api-key", "an-admin-key-of-tests")]
    await stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="tiny"), metadata=admin)
    assert not (await stub.ModelReady(pb.ModelReadyRequest(name="tiny"), metadata=admin)).ready


# What is said


async def test_errors_are_plain_and_tell_no_internals(http, session):
    session.poison = 5
    failed = await http.post(INFER, content=body())
    assert (failed.status_code, list(failed.json())) == (500, ["error"])
    assert "poison" not in failed.text
    for method, path, status in (
        ("GET", "/v2/nothing", 404),
        ("GET", INFER, 405),
        ("GET", "/v2/models/tiny:1", 404),
        ("GET", "/v2/models/tiny/versions/one", 404),
        ("POST", "/v2/systemsharedmemory/region/r/register", 501),
    ):
        response = await http.request(method, path)
        assert (response.status_code, list(response.json())) == (status, ["error"]), path


async def test_a_failed_model_says_why(repository_folder, session):
    (repository_folder / "tiny" / "1" / "model.onnx").write_bytes(b"altered")
    app = create_app(Settings(), Repository(repository_folder, RuntimeOptions()))
    transport = httpx2.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://engram") as http,
    ):
        assert (await http.get("/v2/health/ready")).status_code == 503
        assert "altered" in (await http.get("/v2/models/tiny")).json()["error"]
        [entry] = (await http.post("/v2/repository/index")).json()
        assert (entry["state"], "altered" in entry["reason"]) == ("UNAVAILABLE", True)
        assert (await http.post("/v2/repository/index", json={"ready": True})).json() == []


@pytest.mark.parametrize(
    ("number", "label"), [(0, "interactive"), (1, "interactive"), (2, "batch"), (99, "batch")]
)
async def test_the_parameter_priority_says_who_goes_first(http, stub, counts, number, label):
    assert (await http.post(INFER, content=body(parameters={"priority": number}))).status_code == 200
    request = message()
    request.parameters["priority"].uint64_param = number  # as tritonclient writes it
    await stub.ModelInfer(request)
    waited = {name: sum(histogram.counts) for name, histogram in counts.queue_seconds.items()}
    assert waited == {"interactive": 0, "batch": 0} | {label: 2}


@pytest.mark.parametrize("priority", [-1, "high", True, 1.5], ids=str)
async def test_a_priority_that_is_no_level_is_refused(http, priority):
    response = await http.post(INFER, content=body(parameters={"priority": priority}))
    assert response.status_code == 400
    assert "priority" in response.json()["error"]
