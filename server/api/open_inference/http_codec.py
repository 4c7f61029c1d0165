"""Inference requests and answers over HTTP: JSON, with tensors as lists or as bytes behind the JSON.

``Content-Type`` plays no part, because clients leave it out or send the wrong one. What counts is the
header ``Inference-Header-Content-Length``: how many bytes of the body are JSON.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from server.api.decoding import decode
from server.api.http_errors import MalformedBody
from server.api.open_inference.messages import (
    InferRequest,
    InferResponse,
    Parameter,
    Tensor,
    Wanted,
    refuse_shared_memory,
)
from server.api.open_inference.served_models import ServedModel
from server.api.open_inference.tensors import (
    check_elements,
    decode_binary,
    decode_json,
    element_size,
    encode_binary,
    encode_json,
)
from server.errors import InvalidRequest

HEADER_LENGTH = "Inference-Header-Content-Length"
BINARY = "application/octet-stream"

Parameters = dict[str, Parameter]


class _Input(msgspec.Struct, frozen=True):
    name: str
    shape: list[int]
    datatype: str
    parameters: Parameters = {}
    data: Any = UNSET


class _Output(msgspec.Struct, frozen=True):
    name: str
    parameters: Parameters = {}


class _Body(msgspec.Struct, frozen=True):
    inputs: list[_Input] = []
    outputs: list[_Output] = []
    id: str | UnsetType = UNSET
    parameters: Parameters = {}


_DECODER = msgspec.json.Decoder(_Body)


@dataclass(frozen=True, slots=True)
class Form:
    """How the client wants outputs: as bytes or as JSON, and which ones otherwise."""

    binary: bool = False
    by_name: dict[str, bool] | None = None

    def is_binary(self, name: str) -> bool:
        """Say whether this output goes behind the JSON."""
        return (self.by_name or {}).get(name, self.binary)


def decode_request(
    model: str, version: str, body: bytes, header_length: bytes | None, max_elements: int
) -> tuple[InferRequest, Form]:
    """Read a body.

    Args:
        model: the name in the path.
        version: likewise, or empty.
        body: with its compression undone.
        header_length: the value of ``Inference-Header-Content-Length``, which is not 0.
        max_elements: most elements of all inputs together.

    Raises:
        InputTooLong: there are more elements.
        MalformedBody: the JSON is none.
        InvalidRequest: it is not an inference request, or bytes and declarations do not agree.
    """
    length = json_length(header_length, len(body))
    asked = _parse(body[:length])
    check_elements((entry.shape for entry in asked.inputs), max_elements)
    tail = _Tail(memoryview(body)[length:])
    inputs = [tail.tensor(entry) for entry in asked.inputs]
    tail.insist_on_end()
    if not inputs:
        raise InvalidRequest("the request has no inputs", fields=["inputs"])
    outputs = [_wanted(entry) for entry in asked.outputs]
    by_name = {entry.name: flag for entry in asked.outputs if (flag := _flag(entry)) is not None}
    form = Form(_truth(asked.parameters, "binary_data_output") or False, by_name)
    request_id = "" if isinstance(asked.id, UnsetType) else asked.id
    return InferRequest(model, version, inputs, outputs, request_id, asked.parameters), form


def decode_raw(served: ServedModel, body: bytes) -> InferRequest:
    """Read a body that is nothing but the bytes of the model's only input; it becomes one row.

    Raises:
        InvalidRequest: the model has several inputs or several free axes, or the bytes do not fit.
    """
    if len(served.inputs) != 1:
        raise InvalidRequest(
            f"a body without JSON is for models with one input, this one has {len(served.inputs)}"
        )
    [port] = served.inputs
    if port.datatype == "BYTES":
        body = len(body).to_bytes(4, "little") + body
    sizes = port.shape[1:]
    if sizes.count(-1) > 1:
        raise InvalidRequest(
            f"a body without JSON cannot tell the sizes of input {port.name!r}", fields=[port.name]
        )
    fixed = prod(size for size in sizes if size != -1) * element_size(port.datatype)
    free = 1 if port.datatype == "BYTES" else len(body) // max(fixed, 1)
    shape = [1, *(free if size == -1 else size for size in sizes)]
    tensor = Tensor(port.name, port.datatype, decode_binary(port.name, port.datatype, shape, body))
    return InferRequest(served.loaded.name, str(served.loaded.version), [tensor])


def json_length(header: bytes | None, size: int) -> int:
    """Return how many bytes of a body of ``size`` bytes are JSON, by the header or without one.

    Raises:
        InvalidRequest: the header is no number, or larger than the body.
    """
    if header is None:
        return size
    if not header.isdigit() or len(header) > 12 or int(header) > size:
        raise InvalidRequest(
            f"the header {HEADER_LENGTH} must be a number of bytes, at most the {size} of the body",
            fields=[HEADER_LENGTH],
        )
    return int(header)


def encode_response(response: InferResponse, form: Form) -> tuple[bytes, int | None]:
    """Write an answer; the second value is the length of its JSON when bytes follow.

    Raises:
        InvalidRequest: an output that is wanted as JSON holds what JSON cannot carry.
    """
    parts: list[bytes] = []
    outputs = []
    for tensor in response.outputs:
        entry: dict[str, Any] = {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": tensor.array.shape,
        }
        if form.is_binary(tensor.name):
            parts.append(encode_binary(tensor.datatype, tensor.array))
            entry["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            entry["data"] = encode_json(tensor.name, tensor.datatype, tensor.array)
        outputs.append(entry)
    head: dict[str, Any] = {"model_name": response.model, "model_version": response.version}
    if response.id:
        head["id"] = response.id
    if response.parameters:
        head["parameters"] = response.parameters
    header = msgspec.json.encode(head | {"outputs": outputs})
    return (b"".join((header, *parts)), len(header)) if parts else (header, None)


class _Tail:
    """The bytes behind the JSON, taken from the front by one input after the other."""

    def __init__(self, data: memoryview) -> None:
        self._data = data

    def tensor(self, entry: _Input) -> Tensor:
        """Return an input, whose data is in the JSON or next in the bytes."""
        refuse_shared_memory(entry.parameters)
        size = entry.parameters.get("binary_data_size")
        if (size is None) == (entry.data is UNSET):
            what = "no data" if size is None else "data in the JSON and behind it"
            raise InvalidRequest(f"input {entry.name[:160]!r} has {what}", fields=[entry.name[:160]])
        if size is None:
            array = decode_json(entry.name, entry.datatype, entry.shape, entry.data)
            return Tensor(entry.name, entry.datatype, array)
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= len(self._data):
            raise InvalidRequest(
                f"input {entry.name[:160]!r}: binary_data_size is {size!r}, {len(self._data)} bytes are left",
                fields=[entry.name[:160]],
            )
        data, self._data = self._data[:size], self._data[size:]
        return Tensor(
            entry.name, entry.datatype, decode_binary(entry.name, entry.datatype, entry.shape, data)
        )

    def insist_on_end(self) -> None:
        """Raise InvalidRequest when bytes are left."""
        if len(self._data):
            raise InvalidRequest(f"{len(self._data)} bytes of the body belong to no input")


def _parse(body: bytes) -> _Body:
    try:
        return decode(_DECODER, body)
    except MalformedBody:
        # Bare NaN and Infinity are no JSON, yet clients send them, and they are good values of a tensor.
        if b"NaN" not in body and b"Infinity" not in body:
            raise
    try:
        value = json.loads(body)
        if b"\\u" in body:
            json.dumps(
                value, ensure_ascii=False
            ).encode()  # fails for half a surrogate pair, which is no text
        return msgspec.convert(value, _Body)
    except msgspec.ValidationError as error:
        raise InvalidRequest(str(error).replace("`", "")) from None
    except (ValueError, RecursionError):
        raise MalformedBody("the body is not JSON") from None


def _wanted(entry: _Output) -> Wanted:
    refuse_shared_memory(entry.parameters)
    classes = entry.parameters.get("classification", 0)
    if isinstance(classes, bool) or not isinstance(classes, int) or classes < 0:
        raise InvalidRequest(
            f"output {entry.name[:160]!r}: classification must be a number of classes",
            fields=[entry.name[:160]],
        )
    return Wanted(entry.name, classes)


def _flag(entry: _Output) -> bool | None:
    return _truth(entry.parameters, "binary_data")


def _truth(parameters: Parameters, name: str) -> bool | None:
    value = parameters.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidRequest(f"the parameter {name} must be true or false", fields=[name])
    return value
