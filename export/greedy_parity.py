"""The certificate of greedy decoding: loop, driven stages and eager torch choose the same, step by step.

Where the two best scores of a step are nearer than ``TIE``, either may be chosen; such a row is counted, and
compared up to that step. Everything before is held to the same tolerance and noise as any graph.

Legend: B batch, S steps.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from export.greedy import LENGTHS, TIE, Decoded, GreedyDecoder
from export.parity import BatchMatters, Case, ShapesDiffer, ValuesDiffer, cases, is_near, largest_distance
from export.wrappers import Graph, Graphs
from server.contract.tensors import Array, Arrays, join, sizes_of, split
from server.errors import RunError
from server.runtime.session import Session


class SessionModule(nn.Module):
    """A session as a module, to be driven like the network it was exported from."""

    def __init__(self, session: Session, graph: Graph) -> None:
        super().__init__()
        self._session = session
        self._graph = graph

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the session on the graph's inputs in order; return its outputs in order."""
        arrays = {name: tensor.numpy() for name, tensor in zip(self._graph.inputs, inputs, strict=True)}
        outputs = self._session.run(arrays, self._graph.outputs)
        return tuple(torch.from_numpy(outputs[name]) for name in self._graph.outputs)


class DrivenSession:
    """Two sessions driven greedily, as the server does it, in the form of one."""

    runtime = "driven"
    device = "cpu"

    def __init__(self, graphs: Graphs, encoder: Session, step: Session) -> None:
        assert graphs.greedy is not None
        stages = cast(Mapping[str, Graph], graphs.stages)
        modules = SessionModule(encoder, stages["encoder"]), SessionModule(step, stages["step"])
        self._decoder = GreedyDecoder(*modules, stages, graphs.greedy)
        self._graph = graphs.model

    def run(self, inputs: Arrays, outputs: Sequence[str]) -> dict[str, Array]:
        """Decode a batch and return the named outputs."""
        decoded = self._decoder.decode(*(torch.tensor(inputs[name]) for name in self._graph.inputs))
        return {name: decoded.outputs[name].numpy() for name in outputs}

    def close(self) -> None:
        """Hold nothing that needs to be freed."""


@dataclass(frozen=True)
class _Other:
    """What a form is compared with, how a difference is called, and by output the noise granted and the
    largest differences so far.
    """

    name: str
    noise: Mapping[str, float]
    error: type[ValuesDiffer | BatchMatters]
    largest: dict[str, float]


class GreedyComparison:
    """Compares one form of a whole graph with eager torch.

    Attributes:
        values: by output, the largest difference from eager torch.
        alone: by output, the largest difference between a request alone and the same in a batch.
        ties: how many rows came to a step where rounding decides, and were decided otherwise there.
    """

    def __init__(self, form: str, session: Session, graphs: Graphs, tolerance: float) -> None:
        assert graphs.greedy is not None
        self.values: dict[str, float] = {}
        self.alone: dict[str, float] = {}
        self.ties = 0
        self._form = form
        self._session = session
        self._graph = graphs.model
        self._chosen = graphs.greedy.chosen
        self._tolerance = tolerance

    def check(self, case: Case, batch: Arrays, expected: Decoded, noise: Mapping[str, float]) -> None:
        """Compare a batch row by row, and its first and last request alone.

        Raises:
            ShapesDiffer, ValuesDiffer, BatchMatters: at the first difference.
        """
        what = f"{self._form}, {case}"
        found = self._run(what, batch)
        wanted = {name: value.numpy() for name, value in expected.outputs.items()}
        margins_BS = expected.margins_BS.numpy()
        for spec in self._graph.signature.outputs:
            own, other = found[spec.name], wanted[spec.name]
            steps_differ = own.shape[:1] + own.shape[2:] != other.shape[:1] + other.shape[2:]
            if own.dtype != other.dtype or own.ndim != other.ndim or steps_differ:
                raise ShapesDiffer(
                    f"{what}: {spec.name} is {own.dtype} {list(own.shape)}, "
                    f"expected {other.dtype} {list(other.shape)}"
                )
        torch_says = _Other("eager torch", noise, ValuesDiffer, self.values)
        batch_says = _Other("the batch", noise, BatchMatters, self.alone)
        inputs, outputs = self._graph.signature.inputs, self._graph.signature.outputs
        sizes = [sizes_of(inputs, request) for request in case.requests]
        together = split(outputs, found, sizes)
        for row, expected_row in enumerate(split(outputs, wanted, sizes)):
            where = f"{what}, request {row}"
            self._compare(where, together[row], expected_row, margins_BS[row], torch_says)
        for row in {0, len(case.requests) - 1}:
            where = f"{what}, request {row} alone"
            alone = self._run(where, join(inputs, [case.requests[row]]))
            [single] = split(outputs, alone, [sizes[row]])
            self._compare(where, single, together[row], margins_BS[row], batch_says)

    def _run(self, what: str, batch: Arrays) -> Arrays:
        try:
            return self._session.run(batch, self._graph.outputs)
        except RunError as error:
            raise ShapesDiffer(f"{what}: the graph takes no batch of these sizes") from error

    def _compare(self, what: str, own: Arrays, wanted: Arrays, margins_S: Array, other: _Other) -> None:
        """Compare one row up to its end, or to the step at which rounding decided otherwise."""
        steps = self._same_steps(what, own, wanted, margins_S, other)
        for name, value in own.items():
            if name != LENGTHS and value[own[LENGTHS] :].any():
                raise BatchMatters(f"{what}: {name} goes on after the row has ended")
            distance = 0.0
            if name not in (LENGTHS, self._chosen) and steps:
                distance, place = largest_distance(value[:steps], wanted[name][:steps])
                if not is_near(distance, other.noise[name], self._tolerance):
                    raise other.error(
                        f"{what}: {name} at {list(place)} is {distance:.2g} away from {other.name}, "
                        f"the tolerance is {self._tolerance:g} and the rounding noise {other.noise[name]:.2g}"
                    )
            other.largest[name] = max(distance, other.largest.get(name, 0.0))

    def _same_steps(self, what: str, own: Arrays, wanted: Arrays, margins_S: Array, other: _Other) -> int:
        steps = int(min(own[LENGTHS], wanted[LENGTHS]))
        choices, others = own[self._chosen], wanted[self._chosen]
        different = np.flatnonzero(choices[:steps] != others[:steps])
        if not different.size and own[LENGTHS] == wanted[LENGTHS]:
            return steps
        first = int(different[0]) if different.size else steps - 1
        if different.size and margins_S[first] < TIE:
            self.ties += 1
            return first
        raise other.error(
            f"{what}: step {first} chooses {choices[first]} and {other.name} {others[first]} "
            f"after {own[LENGTHS]} and {wanted[LENGTHS]} steps in all; its two best scores differ by "
            f"{margins_S[first]:.2g}, rounding decides below {TIE:g}"
        )


def compare_greedy(
    graphs: Graphs,
    forms: Mapping[str, Session],
    tolerance: float,
    *,
    each_case: Callable[[int], None] = lambda done: None,
) -> tuple[dict[str, GreedyComparison], dict[str, float]]:
    """Decode every case in every form and compare.

    Returns:
        The comparison of each form, and by output the largest rounding noise of eager torch.

    Raises:
        ShapesDiffer, ValuesDiffer, BatchMatters: at the first difference.
    """
    graph = graphs.model
    reference, exact = graph.module, copy.deepcopy(graph.module).to(torch.float64)
    assert graphs.greedy is not None
    assert isinstance(reference, GreedyDecoder)
    assert isinstance(exact, GreedyDecoder)
    comparisons = {
        form: GreedyComparison(form, session, graphs, tolerance) for form, session in forms.items()
    }
    largest: dict[str, float] = {}
    for done, case in enumerate(cases(graph), start=1):
        batch = join(graph.signature.inputs, case.requests)
        inputs = [torch.tensor(batch[name]) for name in graph.inputs]
        precise = [one.to(torch.float64) if one.is_floating_point() else one for one in inputs]
        with torch.inference_mode():
            expected = reference.decode(*inputs)
            same = exact.decode(*precise, forced_BS=expected.outputs[graphs.greedy.chosen])
        noise = {
            name: largest_distance(value.numpy(), same.outputs[name].numpy())[0]
            for name, value in expected.outputs.items()
        }
        largest = {name: max(own, largest.get(name, 0.0)) for name, own in noise.items()}
        for comparison in comparisons.values():
            comparison.check(case, batch, expected, noise)
        each_case(done)
    return comparisons, largest
