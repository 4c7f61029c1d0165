"""The same over gRPC: inferences that must be answered or refused, by ``ModelInfer``."""

from dataclasses import dataclass

import grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from tests.conformance.cases import ANSWERED, REFUSED, Round
from tests.conformance.rules import LEAK, same
from tests.conformance.wire import from_bytes, to_bytes

CONTENTS = {
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "BOOL": "bool_contents",
    "BYTES": "bytes_contents",
}
BLAME = {"INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED", "OUT_OF_RANGE", "FAILED_PRECONDITION"}
"""Status codes that say the request is to blame."""


@dataclass(frozen=True)
class GrpcCase:
    """A message and what must come of it."""

    kind: str
    message: pb.ModelInferRequest
    outcome: str
    outputs: tuple = ()
    round: int | None = None


@dataclass(frozen=True)
class GrpcReply:
    """A status code, with the answer or with the reason."""

    code: str
    answer: pb.ModelInferResponse | None = None
    reason: str = ""


class GrpcServer:
    """A channel to a server."""

    def __init__(self, address):
        self._channel = grpc.insecure_channel(address)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def send(self, message):
        try:
            return GrpcReply("OK", self._stub.ModelInfer(message, timeout=60))
        except grpc.RpcError as error:
            return GrpcReply(error.code().name, reason=error.details())

    def close(self):
        self._channel.close()


class GrpcRound(Round):
    """The tensors of one round as messages."""

    def cases(self):
        names = tuple(entry["name"] for entry in self.model.outputs)
        some = tuple(self.dice.sample(names, self.dice.randint(1, len(names))))
        for kind, message in self._good(some):
            chosen = some if kind == "gRPC: some outputs" else names
            yield GrpcCase(kind, message, ANSWERED, chosen, self.number)
        for kind, message in self._bad():
            yield GrpcCase(kind, message, REFUSED)

    def _message(self, **fields):
        request = {"model_name": self.model.name, **fields}
        message = pb.ModelInferRequest(**request)
        for name, array in self.arrays.items():
            message.inputs.add(name=name, datatype=self.model.datatype(name), shape=array.shape)
            message.raw_input_contents.append(to_bytes(self.model.datatype(name), array))
        return message

    def _typed(self):
        message = self._message()
        del message.raw_input_contents[:]
        for entry, array in zip(message.inputs, self.arrays.values(), strict=True):
            getattr(entry.contents, CONTENTS[entry.datatype]).extend(array.ravel().tolist())
        return message

    def _good(self, some):
        yield "gRPC: raw contents", self._message()
        if all(self.model.datatype(name) in CONTENTS for name in self.arrays):
            yield "gRPC: typed contents", self._typed()
        yield "gRPC: a version", self._message(model_version=self.model.version)
        yield "gRPC: an id", self._message(id="7")
        wanted = self._message()
        for name in some:
            wanted.outputs.add(name=name)
        yield "gRPC: some outputs", wanted
        parameters = self._message()
        parameters.parameters["colour"].string_param = "red"
        yield "gRPC: a parameter of one's own", parameters

    def _bad(self):
        yield "gRPC: a model that is none", self._message(model_name="nobody")
        yield "gRPC: a version that is none", self._message(model_version="999")
        yield "gRPC: no inputs", pb.ModelInferRequest(model_name=self.model.name)
        for kind, change in {
            "gRPC: an input with another name": lambda m: setattr(m.inputs[0], "name", "nobody"),
            "gRPC: another datatype": lambda m: setattr(m.inputs[0], "datatype", "FP32"),
            "gRPC: a datatype that is none": lambda m: setattr(m.inputs[0], "datatype", "INT128"),
            "gRPC: too few bytes": lambda m: m.raw_input_contents.__setitem__(
                0, m.raw_input_contents[0][:-1]
            ),
            "gRPC: too many bytes": lambda m: m.raw_input_contents.__setitem__(
                0, m.raw_input_contents[0] * 2
            ),
            "gRPC: fewer raw contents than inputs": lambda m: m.raw_input_contents.pop(),
            "gRPC: more raw contents than inputs": lambda m: m.raw_input_contents.append(b""),
            "gRPC: raw and typed contents": lambda m: m.inputs[0].contents.int64_contents.append(1),
            "gRPC: one axis too many": lambda m: m.inputs[0].shape.append(1),
            "gRPC: a negative size": lambda m: m.inputs[0].shape.__setitem__(0, -1),
            "gRPC: a shape beyond memory": lambda m: m.inputs[0].shape.__setitem__(0, 2**62),
            "gRPC: an output that is none": lambda m: m.outputs.add(name="nobody"),
        }.items():
            message = self._message()
            change(message)
            yield kind, message
        typed = self._typed()
        typed.inputs[0].contents.Clear()
        typed.inputs[0].contents.int64_contents.append(1)
        typed.inputs[0].shape[-1] += 1
        yield "gRPC: too few typed contents", typed


class GrpcJudge:
    """Finds what is wrong with replies."""

    def __init__(self, model):
        self._model = model
        self._values = {}

    def problems(self, case, reply):
        """Return sentences about what is wrong."""
        if case.outcome == REFUSED:
            if reply.code not in BLAME:
                return [f"status {reply.code} for a request that cannot be answered"]
            return ["the reason tells internals"] if LEAK.search(reply.reason) else []
        if reply.code != "OK":
            return [f"status {reply.code}: {reply.reason}"]
        arrays = arrays_of(reply.answer)
        if (reply.answer.model_name, reply.answer.id) != (self._model.name, case.message.id):
            return ["model_name or id is not that of the request"]
        if set(arrays) != set(case.outputs):
            return [f"outputs are {sorted(arrays)}, expected {sorted(case.outputs)}"]
        known = [self._values.setdefault((case.round, name), array) for name, array in arrays.items()]
        equal = all(same(one, other) for one, other in zip(known, arrays.values(), strict=True))
        return [] if equal else ["outputs differ from those of the same tensors sent in another way"]


def arrays_of(answer):
    """Return the outputs of an answer."""
    pairs = zip(answer.outputs, answer.raw_output_contents, strict=True)
    return {entry.name: from_bytes(entry.datatype, list(entry.shape), raw) for entry, raw in pairs}
