"""The gRPC server beside its methods: health, and how many calls it takes at once."""

import asyncio

import grpc
import pytest
from grpc_health.v1 import health_pb2 as pb
from grpc_health.v1.health_pb2_grpc import HealthStub
from tritonclient.grpc import service_pb2_grpc

from server.api.lifecycle import Stage
from server.api.open_inference.grpc_server import start_grpc
from server.app import create_app
from server.runtime.options import RuntimeOptions
from server.runtime.repository import Repository
from server.settings import Settings
from tests.server.open_inference.clients import free_ports
from tests.server.open_inference.test_both_doors import message

SERVING, NOT_SERVING = pb.HealthCheckResponse.SERVING, pb.HealthCheckResponse.NOT_SERVING


@pytest.fixture
async def app(repository_folder, session):
    repository = Repository(repository_folder, RuntimeOptions(warm_up=False), open_session=lambda *_: session)
    app = create_app(Settings(max_connections=2, api_keys="key"), repository)
    async with app.router.lifespan_context(app):
        while session.started.acquire(blocking=False):
            pass  # golden probes ran
        yield app


@pytest.fixture
async def channel(app):
    [port] = free_ports(1)
    door = await start_grpc(app.open_inference, "127.0.0.1", port)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await door.stop(None)


@pytest.fixture
def health(channel):
    return HealthStub(channel)


@pytest.mark.parametrize("name", ["", "inference.GRPCInferenceService", "tiny", "tiny.text"])
async def test_health_is_told_without_a_key(health, name):
    assert (await health.Check(pb.HealthCheckRequest(service=name))).status == SERVING


async def test_a_server_that_drains_is_not_healthy(health, app):
    app.lifecycle.stage = Stage.DRAINING
    for name in ("", "tiny"):
        assert (await health.Check(pb.HealthCheckRequest(service=name))).status == NOT_SERVING


async def test_an_unloaded_model_is_not_healthy_and_the_server_is(health, app):
    await app.repository.unload("tiny")
    assert (await health.Check(pb.HealthCheckRequest(service="tiny"))).status == NOT_SERVING
    assert (await health.Check(pb.HealthCheckRequest())).status == SERVING


async def test_an_unknown_service_has_no_health(health):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await health.Check(pb.HealthCheckRequest(service="nobody"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_who_watches_is_told_of_a_change(health, app):
    watch = health.Watch(pb.HealthCheckRequest())
    assert (await watch.read()).status == SERVING
    app.lifecycle.stage = Stage.DRAINING
    assert (await asyncio.wait_for(watch.read(), 10)).status == NOT_SERVING
    watch.cancel()


async def test_who_watches_an_unknown_service_waits_for_it(health):
    watch = health.Watch(pb.HealthCheckRequest(service="nobody"))
    assert (await watch.read()).status == pb.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


async def test_only_so_many_calls_are_open_at_once(channel, session):
    stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
    key = (("authorization", "Bearer key"),)
    session.gate.clear()
    held = [asyncio.ensure_future(stub.ModelInfer(message(), metadata=key)) for _ in range(2)]
    await session.has_started()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.ModelInfer(message(), metadata=key)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    session.gate.set()
    assert [answer.model_name for answer in await asyncio.gather(*held)] == ["tiny", "tiny"]
    assert (await stub.ModelInfer(message(), metadata=key)).model_name == "tiny"
