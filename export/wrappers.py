"""Networks as graphs: modules whose inputs and outputs are named tensors, ready to be traced.

A network answers with logits and everything training needs; a graph answers with probabilities and attention.
``export.graphs`` lists the families. A family whose network answers in one run makes one ``Graph``; one
that the server drives step by step makes ``Graphs`` (``export.greedy.greedy_graphs`` helps).

Legend: B batch, K hops, A answers.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from models.checkpoint import Checkpoint
from models.families import build
from server.contract.manifest import AttentionSpec, GraphSpec, Signature, StageName, TensorSpec
from server.contract.tensors import Array, Arrays

Draw = Callable[[Sequence[Mapping[str, int]], np.random.Generator], Sequence[Arrays]]
"""Draws random requests (no batch axis), one for each of the given sizes of the free axes."""


@dataclass(frozen=True)
class Graph:
    """A module in evaluation mode, from the signature's inputs by position to its outputs in order.

    ``limits`` is the largest size of every free axis but the batch. Random requests are made of ids below
    ``ids`` (INT64), numbers in 0..1 (FP32) and yes (BOOL); where these are no plausible inputs, ``draw``
    makes them.
    """

    module: nn.Module
    signature: GraphSpec
    limits: Mapping[str, int]
    ids: int = 0
    draw: Draw | None = None

    @property
    def inputs(self) -> list[str]:
        """Name the inputs in order."""
        return [spec.name for spec in self.signature.inputs]

    @property
    def outputs(self) -> list[str]:
        """Name the outputs in order."""
        return [spec.name for spec in self.signature.outputs]


@dataclass(frozen=True)
class Greedy:
    """How a step graph is driven without a search: the best choice of each step is fed to the next.

    Attributes:
        choice: the step's input ``[batch]``, INT64, that takes what was chosen last.
        scores: the step's output ``[batch, choices]`` of which the largest is chosen: (log-)probabilities or
            logits; what may not be chosen is far below the rest.
        start: what the first step takes in place of a choice.
        end: the choice that ends a row; ``None`` where only ``most`` does.
        most: how many steps a row takes at most: a number, or an encoder output ``[batch]``, INT64.
        chosen: how the whole graph names what was chosen, ``[batch, steps]``.
        collected: the step's outputs that the whole graph returns, of every step: ``[batch, steps, ...]``.
    """

    choice: str
    scores: str
    start: int
    end: int | None
    most: str | int
    chosen: str
    collected: tuple[str, ...]


@dataclass(frozen=True)
class Graphs:
    """All graphs of a family: the whole and, where the server drives it step by step, its stages.

    With ``greedy``, the whole is the encoder and a loop over the step, and its module is the same in eager
    torch. Without, the whole is exported like any stage, and may be the very same graph as the step.
    """

    model: Graph
    stages: Mapping[StageName, Graph] = field(default_factory=dict)
    greedy: Greedy | None = None


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


class EagerSession:
    """The graph's own module as a session, in float32 or float64: what exported forms are compared with."""

    runtime = "eager"
    device = "cpu"

    def __init__(self, graph: Graph, dtype: torch.dtype = torch.float32) -> None:
        self._graph = graph
        self._dtype = dtype
        self._module = copy.deepcopy(graph.module).to(dtype)

    def run(self, inputs: Arrays, outputs: Sequence[str]) -> dict[str, Array]:
        """Run a batch and return the named outputs."""
        with torch.inference_mode():
            tensors = [self._tensor(inputs[name]) for name in self._graph.inputs]
            values = dict(zip(self._graph.outputs, self._module(*tensors), strict=True))
        return {name: values[name].numpy() for name in outputs}

    def _tensor(self, array: Array) -> Tensor:
        tensor = torch.tensor(array)
        return tensor.to(self._dtype) if tensor.is_floating_point() else tensor

    def close(self) -> None:
        """Hold nothing that needs to be freed."""
