"""A body that is nothing but the bytes of one tensor."""

from types import SimpleNamespace

import numpy as np
import pytest

from server.api.open_inference.http_codec import decode_raw
from server.api.open_inference.served_models import Port
from server.errors import InvalidRequest


def served(*ports):
    return SimpleNamespace(name="one", loaded=SimpleNamespace(name="one", version=3), inputs=ports)


def test_the_free_axis_follows_from_the_bytes():
    values = np.arange(6, dtype=np.float32)
    request = decode_raw(served(Port("points", "FP32", (-1, -1, 2))), values.tobytes())
    [tensor] = request.inputs
    np.testing.assert_array_equal(tensor.array, values.reshape(1, 3, 2))


def test_text_is_one_element():
    [tensor] = decode_raw(served(Port("text", "BYTES", (-1, 1))), b"hello").inputs
    assert tensor.array.tolist() == [[b"hello"]]


@pytest.mark.parametrize(
    ("ports", "body"),
    [
        ([Port("a", "FP32", (-1, 2)), Port("b", "FP32", (-1, 2))], b"\0" * 8),
        ([Port("a", "FP32", (-1, -1, -1))], b"\0" * 8),
        ([Port("a", "FP32", (-1, -1, 2))], b"\0" * 9),
        ([Port("a", "FP32", (-1, 2))], b"\0" * 4),
    ],
    ids=["two inputs", "two free axes", "half an element", "too few bytes"],
)
def test_what_cannot_be_deduced_is_refused(ports, body):
    with pytest.raises(InvalidRequest):
        decode_raw(served(*ports), body)
