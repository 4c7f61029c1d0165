"""Requests that once broke the server, each as small as it gets."""

import json
from contextlib import closing

import grpc
import pytest

from tests.fuzz.rules import problems
from tests.fuzz.target import NAME
from tests.fuzz.wire import Connection

TOKENS = [
    {"name": "story_tokens", "datatype": "INT64", "shape": [1, 1, 1], "data": [2]},
    {"name": "question_tokens", "datatype": "INT64", "shape": [1, 1], "data": [2]},
]
SERVICE = "/inference.GRPCInferenceService"


def shaped(sizes):
    """Return a body with an input of this shape, as text because Python writes no longer numbers."""
    return f'{{"inputs": [{{"name": "a", "datatype": "INT64", "shape": [{sizes}], "data": [1]}}]}}'


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(shaped(",".join([str(2**63 - 1)] * 300_000)), id="a product that takes minutes"),
        pytest.param(shaped(",".join(["9" * 4_000] * 2)), id="a product too long to be written"),
        pytest.param(json.dumps({"inputs": TOKENS, "parameters": {"timeout": 10**400}}), id="no such moment"),
        pytest.param(
            json.dumps({"inputs": TOKENS, "id": "\ud800", "parameters": {"x": float("nan")}}),
            id="half a character",
        ),
    ],
)
def test_an_inference_that_cannot_be_is_refused(target, body):
    path = f"/v2/models/{NAME}/infer"
    with closing(Connection(target.port)) as connection:
        reply = connection.send("POST", path, body=body.encode())
    assert reply.status == 400
    assert problems(path, reply) == []
    assert target.wounds() == []


@pytest.mark.parametrize("method", ["ModelInfer", "ModelMetadata", "ServerLive"])
def test_bytes_that_are_no_message_are_refused(target, method):
    with grpc.insecure_channel(f"127.0.0.1:{target.grpc_port}") as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(f"{SERVICE}/{method}")(b"\xff\xff", timeout=15)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "message" in caught.value.details()
    assert target.wounds() == []


def test_bytes_that_are_no_message_spoil_only_themselves_in_a_stream(target):
    with grpc.insecure_channel(f"127.0.0.1:{target.grpc_port}") as channel:
        stream = channel.stream_stream(f"{SERVICE}/ModelStreamInfer")
        answers = list(stream(iter([b"\xff\xff", b"\xff\xff"]), timeout=15))
    assert len(answers) == 2
    assert all(b"not a message of this method" in answer for answer in answers)
    assert target.wounds() == []
