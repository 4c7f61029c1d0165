"""From an inference request to its answer: names and datatypes checked, run before the deadline, shaped."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from server.api.lifecycle import Lifecycle
from server.api.open_inference.messages import InferRequest, InferResponse, Parameters, Tensor, Wanted
from server.api.open_inference.served_models import Catalogue, Port, ServedModel
from server.contract.attention import largest
from server.contract.tensors import Array
from server.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Inference:
    """Answers requests, whatever they came by."""

    catalogue: Catalogue
    lifecycle: Lifecycle

    async def infer(self, request: InferRequest, due: float) -> InferResponse:
        """Answer one request.

        Args:
            request: what to run on what.
            due: when the wire wants the answer at the latest, on ``time.monotonic``.

        Raises:
            EngramError: it cannot be answered; the class says why.
        """
        self.lifecycle.require_open()
        model = self.catalogue.find(request.model, request.version)
        arrays = _arrays(model, request.inputs)
        wanted = _wanted(model, request.outputs)
        deadline = min(due, _deadline(request.parameters))
        outputs, said = await model.infer(
            arrays, [want.name for want in wanted], request.parameters, deadline
        )
        tensors = [_tensor(want, model.outputs, outputs) for want in wanted]
        return InferResponse(model.name, str(model.loaded.version), tensors, request.id, said)


def _arrays(model: ServedModel, tensors: Sequence[Tensor]) -> dict[str, Array]:
    """Return the inputs by name, after a check that they are those of the model and nothing else."""
    expected = {port.name: port for port in model.inputs}
    arrays: dict[str, Array] = {}
    for tensor in tensors:
        if tensor.name not in expected:
            raise _no_such("input", tensor.name, model.inputs)
        if tensor.name in arrays:
            raise InvalidRequest(f"input {tensor.name!r} comes twice", fields=[tensor.name])
        if tensor.datatype != (datatype := expected[tensor.name].datatype):
            raise InvalidRequest(
                f"input {tensor.name!r} is {tensor.datatype}, expected {datatype}", fields=[tensor.name]
            )
        arrays[tensor.name] = tensor.array
    if missing := [name for name in expected if name not in arrays]:
        raise InvalidRequest(f"input {missing[0]!r} is missing", fields=missing)
    return arrays


def _wanted(model: ServedModel, outputs: Sequence[Wanted]) -> list[Wanted]:
    names = {port.name for port in model.outputs}
    for want in outputs:
        if want.name not in names:
            raise _no_such("output", want.name, model.outputs)
    return list({want.name: want for want in outputs}.values()) or [
        Wanted(port.name) for port in model.outputs
    ]


def _deadline(parameters: Parameters) -> float:
    """Return when the answer is due by the parameter ``timeout``, in microseconds; 0 sets nothing."""
    timeout = parameters.get("timeout", 0)
    if isinstance(timeout, bool) or not isinstance(timeout, int) or not 0 <= timeout < 2**63:
        raise InvalidRequest("the parameter timeout must be a number of microseconds", fields=["timeout"])
    return time.monotonic() + timeout / 1e6 if timeout else float("inf")


def _tensor(want: Wanted, ports: Sequence[Port], outputs: Mapping[str, Array]) -> Tensor:
    port = next(port for port in ports if port.name == want.name)
    array = outputs[want.name]
    if not want.classes:
        return Tensor(port.name, port.datatype, array)
    if port.datatype == "BYTES":
        raise InvalidRequest(f"output {port.name!r} is text and has no classes", fields=[port.name])
    return Tensor(port.name, "BYTES", _classes(array, want.classes, port.labels))


def _classes(array: Array, count: int, labels: Sequence[str]) -> Array:
    """Return the largest entries of each row as ``value:index`` or ``value:index:label``."""
    rows = array.reshape(len(array), -1)
    texts = np.empty((len(rows), min(count, rows.shape[1])), dtype=object)
    for place, row in enumerate(rows):
        entries = [f"{float(row[index]):f}:{index}{_label(index, labels)}" for index in largest(row, count)]
        texts[place] = [entry.encode() for entry in entries]
    return texts


def _label(index: int, labels: Sequence[str]) -> str:
    return f":{labels[index]}" if index < len(labels) else ""


def _no_such(what: str, name: str, ports: Sequence[Port]) -> InvalidRequest:
    known = ", ".join(port.name for port in ports)
    return InvalidRequest(f"there is no {what} {name[:160]!r}, this model has {known}", fields=[name[:160]])
