"""Inference requests and answers as protocol buffers: ``raw_input_contents``, or the typed ``contents``.

Answers always carry ``raw_output_contents``, which is what clients read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2

from server.api.open_inference.messages import (
    InferRequest,
    InferResponse,
    Parameter,
    Tensor,
    Wanted,
    refuse_shared_memory,
)
from server.api.open_inference.tensors import (
    DTYPES,
    check_elements,
    check_shape,
    decode_binary,
    encode_binary,
)
from server.errors import InvalidRequest

CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Datatype to the typed field that holds it; FP16 and BF16 have none."""


def decode_request(message: Any, max_elements: int) -> InferRequest:
    """Read a ``ModelInferRequest`` of at most ``max_elements`` in all inputs together.

    Raises:
        InputTooLong: there are more elements.
        InvalidRequest: contents and declarations do not agree.
        Unsupported: a tensor lies in shared memory.
    """
    if not message.inputs:
        raise InvalidRequest("the request has no inputs", fields=["inputs"])
    for tensor in (*message.inputs, *message.outputs):
        refuse_shared_memory(parameters_of(tensor.parameters))
    check_elements((entry.shape for entry in message.inputs), max_elements)
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise InvalidRequest(f"there are {len(raw)} raw_input_contents for {len(message.inputs)} inputs")
    inputs = [_tensor(entry, raw[place] if raw else None) for place, entry in enumerate(message.inputs)]
    outputs = [_wanted(entry) for entry in message.outputs]
    parameters = parameters_of(message.parameters)
    return InferRequest(message.model_name, message.model_version, inputs, outputs, message.id, parameters)


def encode_response(response: InferResponse) -> Any:
    """Write a ``ModelInferResponse``."""
    message = service_pb2.ModelInferResponse(
        model_name=response.model, model_version=response.version, id=response.id
    )
    for tensor in response.outputs:
        message.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.array.shape)
        message.raw_output_contents.append(encode_binary(tensor.datatype, tensor.array))
    for name, value in response.parameters.items():
        set_parameter(message.parameters[name], value)
    return message


def parameters_of(entries: Mapping[str, Any]) -> dict[str, Parameter]:
    """Return the parameters of a message as plain values."""
    return {
        name: getattr(entry, kind)
        for name, entry in entries.items()
        if (kind := entry.WhichOneof("parameter_choice"))
    }


def set_parameter(entry: Any, value: Parameter) -> None:
    """Write a plain value into a parameter."""
    match value:
        case bool():
            entry.bool_param = value
        case int():
            entry.int64_param = value
        case float():
            entry.double_param = value
        case str():
            entry.string_param = value


def _tensor(entry: Any, raw: bytes | None) -> Tensor:
    name, datatype, shape = entry.name, entry.datatype, list(entry.shape)
    if raw is None:
        return Tensor(name, datatype, _from_contents(entry, shape))
    if entry.HasField("contents"):
        raise _wrong(name, "has contents beside raw_input_contents")
    return Tensor(name, datatype, decode_binary(name, datatype, shape, raw))


def _from_contents(entry: Any, shape: list[int]) -> np.ndarray[Any, Any]:
    name, datatype = entry.name, entry.datatype
    count = check_shape(name, datatype, shape)
    if datatype not in CONTENTS:
        raise _wrong(name, f"{datatype} has no typed contents, send raw_input_contents")
    field = CONTENTS[datatype]
    if others := [kind.name for kind, _ in entry.contents.ListFields() if kind.name != field]:
        raise _wrong(name, f"{datatype} goes into {field}, not into {others[0]}")
    values = list(getattr(entry.contents, field))
    if len(values) != count:
        raise _wrong(name, f"{field} has {len(values)} elements, expected {count}")
    array = np.empty(count, dtype=DTYPES[datatype])
    try:
        array[:] = values
    except OverflowError:
        raise _wrong(name, f"{field} holds a number that is no {datatype}") from None
    return array.reshape(shape)


def _wrong(name: str, why: str) -> InvalidRequest:
    return InvalidRequest(f"input {name[:160]!r}: {why}", fields=[name[:160]])


def _wanted(entry: Any) -> Wanted:
    classes = parameters_of(entry.parameters).get("classification", 0)
    if isinstance(classes, bool) or not isinstance(classes, int) or classes < 0:
        raise InvalidRequest(
            f"output {entry.name[:160]!r}: classification must be a number of classes",
            fields=[entry.name[:160]],
        )
    return Wanted(entry.name, classes)
