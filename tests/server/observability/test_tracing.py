"""Traces: one span for each step of a request, the client's trace continued, nothing when they are off."""

import asyncio
import logging
import subprocess
import sys
from io import StringIO

import grpc
import numpy as np
import orjson
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from server.api.open_inference.grpc_server import start_grpc
from server.logs import JsonFormatter
from server.settings import Settings, wants_traces
from server.tracing import TRACE, Tracer, open_tracer, ran, step
from tests.server.observability.conftest import QUESTION
from tests.server.open_inference.clients import free_ports

CLIENTS = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = {"traceparent": f"00-{CLIENTS}-b7ad6b7169203331-01"}


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exporter):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Tracer(provider)


def spans(exporter):
    return {span.name: span for span in exporter.get_finished_spans()}


async def test_a_request_is_a_span_with_one_for_each_step(client, exporter):
    assert (await client.post("/v1/qa", json=QUESTION, headers={"X-Request-Id": "mine"})).status_code == 200
    found = spans(exporter)
    assert set(found) == {"POST /v1/qa", "prepare", "queue", "run", "interpret"}
    root = found.pop("POST /v1/qa")
    assert root.kind is SpanKind.SERVER
    assert root.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/qa",
        "http.response.status_code": 200,
        "engram.request_id": "mine",
        "engram.model": "tiny",
    }
    assert all(span.parent.span_id == root.context.span_id for span in found.values())
    assert all(span.context.trace_id == root.context.trace_id for span in found.values())
    assert found["run"].attributes["engram.batch_size"] == 1
    order = ("prepare", "queue", "run", "interpret")
    assert [found[name].end_time for name in order] == sorted(found[name].end_time for name in order)
    assert found["queue"].end_time == found["run"].start_time


async def test_the_clients_trace_goes_on(client, exporter):
    await client.post("/v1/qa", json=QUESTION, headers=TRACEPARENT)
    root = spans(exporter)["POST /v1/qa"]
    assert f"{root.context.trace_id:032x}" == CLIENTS
    assert f"{root.parent.span_id:016x}" == "b7ad6b7169203331"


async def test_a_broken_traceparent_begins_a_trace_of_its_own(client, exporter):
    assert (await client.post("/v1/qa", json=QUESTION, headers={"traceparent": "00-x"})).status_code == 200
    assert spans(exporter)["POST /v1/qa"].parent is None


async def test_an_unsampled_trace_stays_unsampled(client, exporter):
    unsampled = {"traceparent": TRACEPARENT["traceparent"][:-2] + "00"}
    assert (await client.post("/v1/qa", json=QUESTION, headers=unsampled)).status_code == 200
    assert spans(exporter) == {}


async def test_failures_mark_the_span(client, exporter, session):
    session.poison = 5
    assert (
        await client.post("/v1/qa", json={**QUESTION, "story": ["Anna dropped the milk."]})
    ).status_code == 500
    assert spans(exporter)["POST /v1/qa"].status.status_code is StatusCode.ERROR


async def test_items_of_a_batch_share_the_trace(client, exporter):
    await client.post("/v1/qa/batch", json={"requests": [QUESTION, QUESTION]})
    finished = exporter.get_finished_spans()
    assert sum(span.name == "prepare" for span in finished) == 2
    assert len({span.context.trace_id for span in finished}) == 1


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics", "/v2/health/ready"])
async def test_probes_are_not_traced(client, exporter, path):
    await client.get(path)
    assert spans(exporter) == {}


async def test_log_lines_carry_the_trace(client, caplog):
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    with caplog.at_level(logging.INFO):
        logging.getLogger().addHandler(handler)
        await client.post("/v1/qa", json=QUESTION, headers=TRACEPARENT)
        logging.getLogger().removeHandler(handler)
    lines = [orjson.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["trace_id"] for line in lines if line["message"] == "request"] == [CLIENTS]


async def test_without_traces_the_clients_id_is_logged(open_app, caplog):
    async with open_app(traced=False) as client:
        with caplog.at_level("INFO"):
            await client.post("/v1/qa", json=QUESTION, headers=TRACEPARENT)
            await client.post("/v1/qa", json=QUESTION, headers={"traceparent": "../../etc"})
    lines = [record.fields for record in caplog.records if record.message == "request"]
    assert [line.get("trace_id") for line in lines] == [CLIENTS, None]


def test_a_step_without_a_trace_is_nothing():
    assert TRACE.get() is None
    with step("prepare"):
        ran(1.0, 2.0, 3)


@pytest.mark.parametrize(
    ("tracing", "environment", "wanted"),
    [
        (None, {}, False),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        (None, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        (False, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, False),
        (True, {}, True),
    ],
)
def test_traces_are_sent_where_they_are_wanted(tracing, environment, wanted):
    assert wants_traces(Settings(tracing=tracing), environment) is wanted


def test_nothing_of_the_sdk_is_imported_while_traces_are_off():
    program = (
        "import sys; from server.app import create_app; from server.settings import Settings; "
        "create_app(Settings()); print([name for name in sys.modules if 'opentelemetry.sdk' in name "
        "or 'opentelemetry.exporter' in name])"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "[]\n"


def test_missing_packages_are_told_in_plain_words():
    program = (
        "import sys; sys.modules['opentelemetry.sdk'] = None; from server.__main__ import main; "
        "sys.exit(main(['--tracing', '1', '--model-repository', 'tests/data/model_repository']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "requirements/tracing.txt" in done.stderr
    assert "Traceback" not in done.stderr


async def test_traces_reach_a_collector(monkeypatch):
    """The exporter speaks OTLP over HTTP to the address OpenTelemetry's own variable names."""
    received = asyncio.Queue()

    async def collect(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in head.splitlines()
            if line.lower().startswith(b"content-length")
        )
        await received.put((head.split(b"\r\n")[0], await reader.readexactly(length)))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(collect, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    tracer = open_tracer()
    tracer.begin({}).end("POST /v1/qa", {})
    await asyncio.to_thread(tracer.close)
    request, body = await asyncio.wait_for(received.get(), 10)
    assert request == b"POST /v1/traces HTTP/1.1"
    assert b"engram" in body
    assert b"POST /v1/qa" in body
    server.close()
    await server.wait_closed()


async def test_grpc_calls_are_traced_too(client, exporter):
    [port] = free_ports(1)
    door = await start_grpc(client.app.open_inference, "127.0.0.1", port)
    request = pb.ModelInferRequest(model_name="tiny")
    for name, values in (("story_tokens", [[[2, 3]]]), ("question_tokens", [[4]])):
        array = np.array(values)
        request.inputs.add(name=name, datatype="INT64", shape=array.shape)
        request.raw_input_contents.append(array.tobytes())
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        await stub.ServerLive(pb.ServerLiveRequest())
        await stub.ModelInfer(request, metadata=[("traceparent", TRACEPARENT["traceparent"])])
    await door.stop(None)
    found = spans(exporter)
    assert set(found) == {"grpc ModelInfer", "queue", "run"}
    root = found["grpc ModelInfer"]
    assert f"{root.context.trace_id:032x}" == CLIENTS
    assert root.attributes["rpc.grpc.status_code"] == 0
    assert found["run"].parent.span_id == root.context.span_id
