"""What must hold of a reply: to an inference, to a refusal, to a question about the server."""

import json
import re

import numpy as np

from tests.conformance.cases import ANSWERED, REFUSED
from tests.conformance.wire import outputs_of

LEAK = re.compile(r"Traceback|File \"|/(home|usr|opt|work|tmp|var)/|site-packages|\.py\b|0x[0-9a-f]{6,}")
"""What no client should ever read."""


class Judge:
    """Finds what is wrong with replies; remembers values, to compare those of one round."""

    def __init__(self, model):
        self._model = model
        self._values = {}

    def problems(self, case, reply):
        """Return sentences about what is wrong, none when all is well."""
        if case.outcome == REFUSED:
            return list(_refusal(reply))
        if reply.status != 200:
            return [f"status {reply.status}: {reply.body[:200].decode(errors='replace')}"]
        if case.outcome != ANSWERED:
            return [] if not reply.body or _json(reply.body) is not None else ["the body is no JSON"]
        try:
            head, arrays = outputs_of(reply)
        except (ValueError, KeyError, TypeError) as error:
            return [f"the answer cannot be read: {error!r}"]
        return [*self._head(case, head, reply), *self._outputs(case, head, arrays)]

    def _head(self, case, head, reply):
        if head.get("model_name") != self._model.name:
            yield f"model_name is {head.get('model_name')!r}"
        if head.get("model_version", self._model.version) != self._model.version:
            yield f"model_version is {head['model_version']!r}"
        if head.get("id") != case.id:
            yield f"id is {head.get('id')!r}, expected {case.id!r}"
        expected = "application/octet-stream" if case.binary else "application/json"
        if not reply.headers.get("content-type", "").startswith(expected):
            yield f"content-type is {reply.headers.get('content-type')!r}, expected {expected}"

    def _outputs(self, case, head, arrays):
        if set(arrays) != set(case.outputs):
            yield f"outputs are {sorted(arrays)}, expected {sorted(case.outputs)}"
            return
        binary = {
            each["name"] for each in head["outputs"] if "binary_data_size" in each.get("parameters", {})
        }
        if binary != set(case.binary):
            yield f"{sorted(binary)} came as bytes, expected {sorted(case.binary)}"
        declared = {entry["name"]: entry for entry in self._model.outputs}
        for output in () if case.classes else head["outputs"]:
            entry = declared[output["name"]]
            sizes = [int(size) for size in entry["shape"]]
            fits = len(sizes) == len(output["shape"]) and all(
                size in (-1, real) for size, real in zip(sizes, output["shape"], strict=True)
            )
            if output["datatype"] != entry["datatype"] or not fits:
                yield f"output {output['name']} is {output['datatype']} {output['shape']}, declared {entry}"
        for name, array in arrays.items():
            known = self._values.setdefault((case.round, case.classes, name), array)
            if not same(known, array):
                yield f"output {name} differs from that of the same tensors sent in another way"


def same(left, right):
    """Say whether two outputs are the same to a float32's precision."""
    if left.shape != right.shape or left.dtype.kind != right.dtype.kind:
        return False
    if left.dtype == object:
        return list(left.flat) == list(right.flat)
    return np.allclose(left, right, rtol=1e-5, atol=1e-6, equal_nan=True)


def _refusal(reply):
    if not (400 <= reply.status < 500 or reply.status == 501):
        yield f"status {reply.status} for a request that cannot be answered"
    told = _json(reply.body)
    if not isinstance(told, dict) or set(told) != {"error"} or not isinstance(told["error"], str):
        yield f"the body is not {{'error': text}}: {reply.body[:200]!r}"
    elif not told["error"].strip():
        yield "the error says nothing"
    if leaked := LEAK.search(reply.body.decode(errors="replace")):
        yield f"the body tells internals: {leaked[0]!r}"


def _json(body):
    try:
        return json.loads(body)
    except ValueError:
        return None
