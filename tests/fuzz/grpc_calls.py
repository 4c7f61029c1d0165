"""gRPC calls as bytes: messages of the conformance runner, spoilt as protobufs or bytes, to every method."""

import random
from dataclasses import dataclass

from tritonclient.grpc import service_pb2 as pb

from tests.conformance.grpc_cases import GrpcRound
from tests.fuzz.inferences import texts
from tests.fuzz.mutations import scramble

SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
INFER = "ModelInfer"
OTHERS = [method.name for method in SERVICE.methods if not method.client_streaming]
SIZES = (0, 1, -1, 25, 2**20, 2**31, 2**40, 2**62, 2**63 - 1, -(2**63))
CONTENTS = [field.name for field in pb.InferTensorContents.DESCRIPTOR.fields]
NAMES = ("", "nobody", "dmn-plus-tiny", "dmn-plus-tiny:1", "../x", "\x00", "💥", "a" * 9000, "story_tokens")


@dataclass(frozen=True)
class Call:
    """A method and the bytes of its message."""

    method: str
    data: bytes


def calls(models, seed):
    """Yield calls without end."""
    dice, number = random.Random(seed), 0
    while True:
        number += 1
        model = dice.choice(models)
        for case in GrpcRound(model, dice, number).cases():
            message = pb.ModelInferRequest.FromString(case.message.SerializeToString())
            kind = dice.randrange(4)
            for _ in range((0, 0, 1, 3)[kind]):
                _spoil(dice, message)
            data = message.SerializeToString()
            yield Call(INFER, data if kind else scramble(dice, data))
            yield _other(dice, data)


def _other(dice, data):
    method = dice.choice(OTHERS)
    kind = SERVICE.methods_by_name[method].input_type
    message = getattr(pb, kind.name)()
    for field in kind.fields:
        if isinstance(getattr(message, field.name), str):
            setattr(message, field.name, dice.choice(NAMES))
    whole = message.SerializeToString()
    return Call(
        method, dice.choice((whole, whole, scramble(dice, whole), dice.randbytes(dice.randint(1, 60)), data))
    )


def _spoil(dice, message):
    tensors = [*message.inputs, *message.outputs]
    tensor = dice.choice(tensors) if tensors else message.inputs.add()
    raw = message.raw_input_contents
    match dice.randrange(9):
        case 0 if tensor in message.inputs:
            tensor.shape.append(dice.choice(SIZES))
        case 1 if tensor in message.inputs and tensor.shape:
            tensor.shape[dice.randrange(len(tensor.shape))] = dice.choice(SIZES)
        case 2 if tensor in message.inputs:
            tensor.datatype = dice.choice(
                ("BYTES", "FP16", "BF16", "INT8", "UINT64", "FP64", "BOOL", "", "x")
            )
        case 3:
            tensor.name = dice.choice(NAMES)
        case 4 if raw:
            place = dice.randrange(len(raw))
            raw[place] = dice.choice((b"", scramble(dice, raw[place]), texts(dice, ("ada", "where", "is"))))
        case 5 if tensor in message.inputs:
            field = dice.choice(CONTENTS)
            value = dice.choice((0, 1, 2**31 - 1))
            getattr(tensor.contents, field).append(b"\xff\xfe" if field == "bytes_contents" else value)
            if dice.random() < 0.7:
                del raw[:]
        case 6:
            holder = dice.choice((message, tensor)).parameters
            name = dice.choice(
                ("timeout", "classification", "binary_data", "shared_memory_region", "", "priority")
            )
            kind = dice.choice(("int64_param", "string_param", "bool_param", "double_param", "uint64_param"))
            setattr(holder[name], kind, "x" if kind == "string_param" else dice.choice((0, 1)))
            if kind == "int64_param":
                holder[name].int64_param = dice.choice(SIZES)
        case 7:
            message.model_name, message.model_version = (
                dice.choice(NAMES),
                dice.choice(("", "1", "-1", "9" * 5000)),
            )
        case _:
            message.inputs.add().CopyFrom(
                message.inputs[0] if message.inputs else pb.ModelInferRequest().inputs.add()
            )
