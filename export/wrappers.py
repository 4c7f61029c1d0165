"""Networks as graphs: modules whose inputs and outputs are named tensors, ready to be traced.

A network answers with logits and everything training needs; a graph answers with probabilities and attention.
``GRAPHS`` has one line for each family.

Legend: B batch, K hops, A answers.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.checkpoint import Checkpoint
from models.families import build
from server.contract.manifest import AttentionSpec, Signature, TensorSpec
from server.contract.tensors import Array, Arrays


@dataclass(frozen=True)
class Graph:
    """A module in evaluation mode, from the signature's inputs by position to its outputs in order.

    ``limits`` is the largest size of every free axis but the batch. An integer input holds ids below ``ids``.
    """

    module: nn.Module
    signature: Signature
    limits: Mapping[str, int]
    ids: int

    @property
    def inputs(self) -> list[str]:
        """Name the inputs in order."""
        return [spec.name for spec in self.signature.inputs]

    @property
    def outputs(self) -> list[str]:
        """Name the outputs in order."""
        return [spec.name for spec in self.signature.outputs]


class QuestionAnsweringGraph(nn.Module):
    """A question-answering network that returns answer probabilities, the same after each hop, and gates."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, story_tokens: Tensor, question_tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return ``answer_probabilities``, ``hop_probabilities`` and ``attention``."""
        output = self.network(story_tokens, question_tokens)
        hop_probabilities_BKA = output.hop_logits_BKA.softmax(dim=-1)
        return hop_probabilities_BKA[:, -1], hop_probabilities_BKA, output.gate_BKF


def question_answering_graph(checkpoint: Checkpoint) -> Graph:
    """Wrap a network that reads a story in several hops."""
    answers, hops = len(checkpoint.answers), int(checkpoint.config["hops"])
    signature = Signature(
        inputs=(
            TensorSpec(name="story_tokens", datatype="INT64", dims=("batch", "facts", "words")),
            TensorSpec(name="question_tokens", datatype="INT64", dims=("batch", "question_words")),
        ),
        outputs=(
            TensorSpec(name="answer_probabilities", datatype="FP32", dims=("batch", answers)),
            TensorSpec(name="hop_probabilities", datatype="FP32", dims=("batch", hops, answers)),
            TensorSpec(name="attention", datatype="FP32", dims=("batch", hops, "facts")),
        ),
        attention=AttentionSpec(
            output="attention", kind="episodic_gate", axes=("hop", "fact"), normalized_over="fact"
        ),
    )
    limits = {axis: checkpoint.limits[f"max_{axis}"] for axis in ("facts", "words", "question_words")}
    module = QuestionAnsweringGraph(build(checkpoint)).eval()
    return Graph(module, signature, limits, ids=int(checkpoint.config["vocabulary"]))


GRAPHS: dict[str, Callable[[Checkpoint], Graph]] = {"dmn_plus": question_answering_graph}
"""How the checkpoint of a family becomes a graph."""


class EagerSession:
    """The graph's own module as a session, in float32 or float64: what exported forms are compared with."""

    runtime = "eager"
    device = "cpu"

    def __init__(self, graph: Graph, dtype: torch.dtype = torch.float32) -> None:
        self._graph = graph
        self._module = copy.deepcopy(graph.module).to(dtype)

    def run(self, inputs: Arrays, outputs: Sequence[str]) -> dict[str, Array]:
        """Run a batch and return the named outputs."""
        with torch.inference_mode():
            tensors = [torch.tensor(inputs[name]) for name in self._graph.inputs]
            values = dict(zip(self._graph.outputs, self._module(*tensors), strict=True))
        return {name: values[name].numpy() for name in outputs}

    def close(self) -> None:
        """Hold nothing that needs to be freed."""
