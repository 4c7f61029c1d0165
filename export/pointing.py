"""A pointer network as graphs: an encoder of points, a step that points, and the greedy walk over both.

Elements are points and, where an answer has no fixed length, a stop in the first place; ``kinds`` tells them
from padding. Points are normalised inside, so that any scale will do.

Legend: B batch, P elements, H hidden.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from export.greedy import greedy_graphs
from export.wrappers import Graph, Graphs, Greedy
from models.checkpoint import Checkpoint
from models.families import build
from models.plane_geometry import PADDING, POINT, STOP, normalised
from models.pointer_network import Memory, PointerNetwork, State
from server.contract.manifest import AttentionSpec, GraphSpec, TensorSpec
from server.contract.tensors import Arrays

STOP_PLACE = 0
"""Where the stop is among the elements."""

START = -1
"""The choice before the first one."""


class PointEncoder(nn.Module):
    """Normalises and encodes points; makes the first state of the walk."""

    def __init__(self, network: PointerNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, points_BP2: Tensor, kinds_BP: Tensor) -> tuple[Tensor, ...]:
        """Return memory, keys, places, the decoder's state, what may be chosen, and how long to go on."""
        memory = self.network.encode(normalised(points_BP2, kinds_BP), kinds_BP)
        count_B = (kinds_BP == POINT).long().sum(dim=1)
        nothing_B = torch.full_like(count_B, START)
        return (
            memory.memory_BPH,
            memory.keys_BPK,
            memory.places_BP2,
            *memory.first,
            kinds_BP != PADDING,
            nothing_B,
            self._most(count_B),
        )

    def _most(self, count_B: Tensor) -> Tensor:
        """Return the steps of the longest answer: a triangulation has at most 2N - 5 triangles."""
        match self.network.config.task:
            case "tour":
                return count_B
            case "convex_hull":
                return count_B + 1
            case _:
                return (6 * count_B - 14).clamp(min=4)


class PointStep(nn.Module):
    """One step of the decoder: what was chosen goes in, the attention over the elements comes out."""

    def __init__(self, network: PointerNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(  # noqa: PLR0917 - the inputs of the graph, in order
        self,
        memory: Tensor,
        keys: Tensor,
        places: Tensor,
        hidden: Tensor,
        cell: Tensor,
        allowed: Tensor,
        before: Tensor,
        choice: Tensor,
    ) -> tuple[Tensor, ...]:
        """Return ``attention`` and the next state: ``hidden``, ``cell``, ``allowed`` and ``before``."""
        if not self.network.config.revisits:
            places_P = torch.arange(allowed.shape[1], device=allowed.device)
            allowed = allowed & (places_P != choice.unsqueeze(1))
        encoded = Memory(memory, keys, places, State(hidden, cell))
        logits_BP, state = self.network.step(encoded, choice, before, encoded.first, allowed)
        attention_BP = torch.softmax(logits_BP, dim=-1) * allowed.to(logits_BP.dtype)
        # The name of the next "before" must not be that of an input: a graph tells them apart.
        return attention_BP, *state, allowed, choice + 0


def pointing_graphs(checkpoint: Checkpoint) -> Graphs:
    """Wrap a pointer network; its attention is over the elements at each step."""
    network = build(checkpoint)
    assert isinstance(network, PointerNetwork)
    config = network.config
    inputs = (
        TensorSpec(name="points", datatype="FP32", dims=("batch", "points", 2)),
        TensorSpec(name="kinds", datatype="INT64", dims=("batch", "points")),
    )
    memory = (
        TensorSpec(name="memory", datatype="FP32", dims=("batch", "points", config.hidden)),
        TensorSpec(name="keys", datatype="FP32", dims=("batch", "points", config.keys)),
        TensorSpec(name="places", datatype="FP32", dims=("batch", "points", 2)),
    )
    state = (
        TensorSpec(name="hidden", datatype="FP32", dims=("batch", config.hidden)),
        TensorSpec(name="cell", datatype="FP32", dims=("batch", config.hidden)),
        TensorSpec(name="allowed", datatype="BOOL", dims=("batch", "points")),
        TensorSpec(name="before", datatype="INT64", dims=("batch",)),
    )
    most = TensorSpec(name="most_steps", datatype="INT64", dims=("batch",))
    choice = TensorSpec(name="choice", datatype="INT64", dims=("batch",))
    attention = TensorSpec(name="attention", datatype="FP32", dims=("batch", "points"))
    following = tuple(spec.model_copy(update={"name": f"next_{spec.name}"}) for spec in state)
    limits = {"points": checkpoint.limits["max_points"] + config.stops}
    encoder = Graph(
        PointEncoder(network).eval(),
        GraphSpec(inputs=inputs, outputs=(*memory, *state, most)),
        limits,
        draw=Scatter(config.stops),
    )
    step = Graph(
        PointStep(network).eval(),
        GraphSpec(inputs=(*memory, *state, choice), outputs=(attention, *following)),
        limits,
    )
    greedy = Greedy(
        choice="choice",
        scores="attention",
        start=START,
        end=STOP_PLACE if config.stops else None,
        most="most_steps",
        chosen="indices",
        collected=("attention",),
    )
    pointer = AttentionSpec(
        output="attention", kind="pointer", axes=("step", "point"), normalized_over="point"
    )
    return greedy_graphs(encoder, step, greedy, pointer)


class Scatter:
    """Draws points in the unit square, behind a stop where there is one."""

    def __init__(self, stops: bool) -> None:
        self._stops = stops

    def __call__(self, sizes: Sequence[Mapping[str, int]], rng: np.random.Generator) -> Sequence[Arrays]:
        """Draw one request for each of the given sizes."""
        return [self._request(own["points"], rng) for own in sizes]

    def _request(self, elements: int, rng: np.random.Generator) -> Arrays:
        points = rng.random((elements, 2), dtype=np.float32)
        kinds = np.full(elements, POINT, np.int64)
        if self._stops:
            points[STOP_PLACE], kinds[STOP_PLACE] = 0, STOP
        return {"points": points, "kinds": kinds}
