"""A made-up decoder of the size of a small translation model: two graphs with random weights.

What it says means nothing, what it costs does: a GRU of 256 units, dot attention over the source, and a
read-out over 4,000 words. A request names the number of words of its answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from server.contract.bundle import Bundle
from server.contract.manifest import AttentionSpec, DataType, Manifest, Signature, Stage, TensorSpec
from server.contract.tensors import Array
from server.runtime.onnx_session import OnnxSession
from server.runtime.stepwise.stages import StageSessions
from server.tasks import Prepared

UNITS, WORDS = 256, 4_000

_TYPES: dict[DataType, int] = {
    "INT64": TensorProto.INT64,
    "FP32": TensorProto.FLOAT,
    "BOOL": TensorProto.BOOL,
}


def _spec(name: str, datatype: DataType, *dims: str | int) -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, dims=("batch", *dims))


_MEMORY = _spec("memory", "FP32", "source", UNITS)
_MASK = _spec("mask", "BOOL", "source")
_STATE = _spec("state", "FP32", UNITS)
ENCODER = Stage(inputs=(_spec("source_tokens", "INT64", "source"),), outputs=(_MEMORY, _MASK, _STATE))
STEP = Stage(
    inputs=(_MEMORY, _MASK, _STATE, _spec("token", "INT64")),
    outputs=(
        _spec("next_state", "FP32", UNITS),
        _spec("word", "INT64"),
        _spec("attention", "FP32", "source"),
    ),
)


class Sentence(msgspec.Struct, frozen=True):
    """A sentence as token ids, and how many words its answer shall have."""

    tokens: list[int]
    words: int


class Answer(msgspec.Struct, frozen=True):
    """The words of the answer."""

    words: list[int]


class GreedySearch:
    """Feeds the word that came, until there are enough."""

    def __init__(self, words: int) -> None:
        self._wanted = words
        self._words: list[int] = []

    @property
    def finished(self) -> bool:
        """Whether there are enough words."""
        return len(self._words) >= self._wanted

    def feed(self) -> tuple[Mapping[str, Array], Sequence[int]]:
        """Return the last word."""
        return {"token": np.array(self._words[-1:] or [1])}, (0,)

    def advance(self, outputs: Mapping[str, Array]) -> Sequence[msgspec.Struct]:
        """Take the next word."""
        self._words.append(int(outputs["word"][0]))
        return ()

    def answer(self) -> Answer:
        """Return as many words as were wanted, if there are more too."""
        return Answer(self._words[: self._wanted])


class Decoding:
    """The task of the made-up decoder."""

    name: ClassVar[str] = "translate"
    Request: ClassVar[type[msgspec.Struct]] = Sentence
    Answer: ClassVar[type[msgspec.Struct]] = Answer
    events: ClassVar[tuple[type[msgspec.Struct], ...]] = ()

    def __init__(self, max_attention_weights: int = 100_000) -> None: ...

    def selector(self, request: Sentence) -> Mapping[str, str | int]:
        """Return no selector."""
        return {}

    def check(self, bundle: Bundle) -> None:
        """Take any bundle."""

    def prepare(self, request: Sentence, bundle: Bundle) -> Prepared:
        """Make ``source_tokens [source]``."""
        return Prepared({"source_tokens": np.array(request.tokens)}, ("word", "attention"), request.words)

    def begin(self, encoded: Mapping[str, Array], prepared: Prepared, bundle: Bundle) -> GreedySearch:
        """Begin to say that many words."""
        return GreedySearch(prepared.context)


def made_up_bundle() -> Bundle:
    """Return a bundle that is not on disk."""
    manifest = Manifest(
        name="made-up",
        task="translate",
        family="decoder",
        description="Random weights.",
        graphs=dict.fromkeys(("model", "encoder", "step", "encoder_golden", "step_golden"), "none"),
        signature=Signature(
            inputs=ENCODER.inputs,
            outputs=ENCODER.outputs,
            attention=AttentionSpec(output="attention", kind="alignment", axes=(), normalized_over=None),
        ),
        stages={"encoder": ENCODER, "step": STEP},
        limits={},
        files={},
    )
    return Bundle(Path(), 1, manifest, None)


def open_sessions() -> StageSessions:
    """Return sessions of both graphs in ONNX Runtime, on one core."""
    return StageSessions(
        OnnxSession(_step_graph().SerializeToString()), OnnxSession(_encoder_graph().SerializeToString())
    )


def _encoder_graph() -> ModelProto:
    node = helper.make_node
    nodes = [
        node("Gather", ["embeddings", "source_tokens"], ["memory"]),
        node("Greater", ["source_tokens", "zero"], ["mask"]),
        node("ReduceSum", ["memory", "middle"], ["sum"], keepdims=0),  # padding embeds to zeros
        node("Tanh", ["sum"], ["state"]),
    ]
    return _model(ENCODER, nodes, {"embeddings": _embeddings(), "zero": np.int64(0), "middle": np.array([1])})


def _step_graph() -> ModelProto:
    node = helper.make_node
    random = np.random.default_rng(2)
    weights = {
        "gates": random.normal(0, 0.05, (2 * UNITS, 2 * UNITS)).astype(np.float32),
        "candidate": random.normal(0, 0.05, (2 * UNITS, UNITS)).astype(np.float32),
        "readout": random.normal(0, 0.05, (2 * UNITS, WORDS)).astype(np.float32),
        "embeddings": _embeddings(),
        "far": np.float32(-1e9),
        "middle": np.array([1]),
        "last": np.array([-1]),
    }
    nodes = [
        node("Gather", ["embeddings", "token"], ["x"]),
        node("Concat", ["x", "state"], ["x_state"], axis=-1),
        node("MatMul", ["x_state", "gates"], ["raw_gates"]),
        node("Sigmoid", ["raw_gates"], ["both_gates"]),
        node("Split", ["both_gates"], ["reset", "update"], axis=-1, num_outputs=2),
        node("Mul", ["reset", "state"], ["kept"]),
        node("Concat", ["x", "kept"], ["x_kept"], axis=-1),
        node("MatMul", ["x_kept", "candidate"], ["raw_candidate"]),
        node("Tanh", ["raw_candidate"], ["new"]),
        node("Sub", ["state", "new"], ["difference"]),
        node("Mul", ["update", "difference"], ["moved"]),
        node("Add", ["new", "moved"], ["next_state"]),
        node("Unsqueeze", ["next_state", "last"], ["column"]),
        node("MatMul", ["memory", "column"], ["scores_column"]),
        node("Squeeze", ["scores_column", "last"], ["scores"]),
        node("Where", ["mask", "scores", "far"], ["masked"]),
        node("Softmax", ["masked"], ["attention"], axis=-1),
        node("Unsqueeze", ["attention", "middle"], ["row"]),
        node("MatMul", ["row", "memory"], ["context_row"]),
        node("Squeeze", ["context_row", "middle"], ["context"]),
        node("Concat", ["next_state", "context"], ["known"], axis=-1),
        node("MatMul", ["known", "readout"], ["logits"]),
        node("ArgMax", ["logits"], ["word"], axis=-1, keepdims=0),
    ]
    return _model(STEP, nodes, weights)


def _embeddings() -> Array:
    table = np.random.default_rng(1).normal(0, 0.1, (WORDS, UNITS)).astype(np.float32)
    table[0] = 0
    return table


def _model(stage: Stage, nodes: Sequence[Any], constants: Mapping[str, Any]) -> ModelProto:
    inputs, outputs = (
        [helper.make_tensor_value_info(spec.name, _TYPES[spec.datatype], list(spec.dims)) for spec in specs]
        for specs in (stage.inputs, stage.outputs)
    )
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "decoder", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
