"""The certificate: an exported form gives what eager torch gives, at every size, alone and in any batch.

The grid is filled with random words, and a network can be so sensitive to such nonsense that float32 alone
moves an output by more than the tolerance. So eager torch is also run in float64, and its own distance from
that, the rounding noise of the case, is granted ``NOISE`` times over. The certificate records both.

Forms are compared in stages, each with an error of its own:

    ParityError
    ├── NamesDiffer      inputs or outputs are missing, renamed, reordered or of another type
    ├── AxesDiffer       an axis is frozen, renamed or of another size
    ├── ShapesDiffer     an output has another shape than the request implies
    ├── ValuesDiffer     an output differs from eager torch by more than the tolerance
    └── BatchMatters     a request is answered differently alone and in a padded batch
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from export.samples import Request, random_requests
from export.wrappers import Graph
from server.contract.manifest import GraphSpec, TensorSpec
from server.contract.tensors import Array, Arrays, join, sizes_of, split
from server.errors import RunError
from server.runtime.session import Session

BATCHES = (1, 2, 7, 32)
NOISE = 4
"""How many times eager torch's own rounding noise a form may be away from it, beside the tolerance."""

MOST_CELLS = 65_536
"""Largest batch that is compared, in cells of its largest input: eight times what the server joins."""


class ParityError(Exception):
    """An exported form is not the network; the message says which output, where, and by how much."""


class NamesDiffer(ParityError):
    """Inputs or outputs are missing, renamed, reordered or of another type."""


class AxesDiffer(ParityError):
    """An axis is frozen, renamed or of another size."""


class ShapesDiffer(ParityError):
    """An output has another shape than the request implies."""


class ValuesDiffer(ParityError):
    """An output differs from eager torch by more than the tolerance."""


class BatchMatters(ParityError):
    """A request is answered differently alone and in a padded batch."""


class Port(NamedTuple):
    """An input or output as an exported file describes it."""

    name: str
    datatype: str
    dims: tuple[str | int, ...]


class Interface(NamedTuple):
    """All inputs and outputs of an exported file, in order."""

    inputs: list[Port]
    outputs: list[Port]


@dataclass(frozen=True)
class Case:
    """One batch of the grid: the largest size of every axis, and requests of at most these sizes."""

    sizes: Mapping[str, int]
    requests: Sequence[Request]

    def __str__(self) -> str:
        """Name the sizes, as in ``batch=2 facts=5``."""
        return " ".join(f"{axis}={size}" for axis, size in self.sizes.items())


def grid(graph: Graph) -> dict[str, list[int]]:
    """Return the sizes to compare for each axis: 1, small ones beyond the traced example, and the limit."""
    axes = {axis: sorted({1, 2, min(13, limit), limit}) for axis, limit in graph.limits.items()}
    return {"batch": list(BATCHES), **axes}


def cases(graph: Graph, seed: int = 0) -> Iterator[Case]:
    """Yield a mixed, padded batch for every combination of sizes in the grid, up to ``MOST_CELLS``."""
    rng = np.random.default_rng(seed)
    axes = grid(graph)
    for combination in itertools.product(*axes.values()):
        sizes = dict(zip(axes, combination, strict=True))
        if max(_cells(spec, sizes) for spec in graph.signature.inputs) <= MOST_CELLS:
            own = {axis: sizes[axis] for axis in graph.limits}
            yield Case(sizes, random_requests(graph, own, sizes["batch"], rng))


def compare_names(form: str, kind: str, expected: Sequence[str], found: Sequence[str]) -> None:
    """Compare the names of inputs or outputs, in order.

    Raises:
        NamesDiffer: they are not the same.
    """
    if list(found) != list(expected):
        raise NamesDiffer(f"{form}: the {kind} are {', '.join(found)}, expected {', '.join(expected)}")


def compare_interface(form: str, signature: GraphSpec, found: Interface) -> None:
    """Compare names and types, then axes.

    Raises:
        NamesDiffer, AxesDiffer: at the first difference.
    """
    sides = (("inputs", signature.inputs, found.inputs), ("outputs", signature.outputs, found.outputs))
    for kind, specs, ports in sides:
        wanted = [f"{spec.name} {spec.datatype}" for spec in specs]
        compare_names(form, kind, wanted, [f"{port.name} {port.datatype}" for port in ports])
    for _, specs, ports in sides:
        for spec, port in zip(specs, ports, strict=True):
            if port.dims != spec.dims:
                raise AxesDiffer(
                    f"{form}: {spec.name} has the axes {list(port.dims)}, expected {list(spec.dims)}"
                )


class Comparison:
    """Compares one exported form with eager torch, batch by batch, and keeps the largest differences it saw.

    Attributes:
        values: by output, the largest difference from eager torch.
        alone: by output, the largest difference between a request alone and the same in a batch.
    """

    def __init__(self, form: str, session: Session, graph: Graph, tolerance: float) -> None:
        self.values: dict[str, float] = {}
        self.alone: dict[str, float] = {}
        self._form = form
        self._session = session
        self._graph = graph
        self._tolerance = tolerance

    def check(self, case: Case, batch: Arrays, expected: Arrays, noise: Mapping[str, float]) -> None:
        """Compare shapes, values, and two requests alone: the first (of full size) and the last (padded).

        Args:
            case: the requests.
            batch: the same as one padded batch.
            expected: what eager torch makes of it.
            noise: by output, how far that is from the same in float64.

        Raises:
            ShapesDiffer, ValuesDiffer, BatchMatters: at the first difference.
        """
        what = f"{self._form}, {case}"
        inputs, outputs = self._graph.signature.inputs, self._graph.signature.outputs
        found = self._run(what, batch)
        self._check_shapes(what, found, expected)
        self._check_values(what, found, expected, noise)
        sizes = [sizes_of(inputs, request) for request in case.requests]
        together = split(outputs, found, sizes)
        for row in {0, len(case.requests) - 1}:
            alone = self._run(f"{what}, request {row} alone", join(inputs, [case.requests[row]]))
            own = split(outputs, alone, [sizes[row]])[0]
            self._check_alone(f"{what}, request {row}", own, together[row], noise)

    def _run(self, what: str, batch: Arrays) -> Arrays:
        try:
            return self._session.run(batch, self._graph.outputs)
        except RunError as error:
            raise ShapesDiffer(f"{what}: the graph takes no batch of these sizes") from error

    def _check_shapes(self, what: str, found: Arrays, expected: Arrays) -> None:
        for spec in self._graph.signature.outputs:
            own, wanted = found[spec.name], expected[spec.name]
            if own.shape != wanted.shape or own.dtype != wanted.dtype:
                raise ShapesDiffer(
                    f"{what}: {spec.name} is {own.dtype} {list(own.shape)}, "
                    f"expected {wanted.dtype} {list(wanted.shape)}"
                )

    def _check_values(self, what: str, found: Arrays, expected: Arrays, noise: Mapping[str, float]) -> None:
        for spec in self._graph.signature.outputs:
            own, wanted = found[spec.name], expected[spec.name]
            distance, place = largest_distance(own, wanted)
            if not self._is_near(distance, noise[spec.name]):
                where = ", ".join(
                    f"{dim} {at}" if isinstance(dim, str) else str(at)
                    for dim, at in zip(spec.dims, place, strict=True)
                )
                raise ValuesDiffer(
                    f"{what}: {spec.name} is {own[place]:.6g} at [{where}] and eager torch gives "
                    f"{wanted[place]:.6g}: they differ by {distance:.2g}, "
                    f"the tolerance is {self._tolerance:g} and the rounding noise {noise[spec.name]:.2g}"
                )
            self.values[spec.name] = max(distance, self.values.get(spec.name, 0.0))

    def _check_alone(self, what: str, alone: Arrays, together: Arrays, noise: Mapping[str, float]) -> None:
        for name, own in alone.items():
            distance, _ = largest_distance(own, together[name])
            if not self._is_near(distance, noise[name]):
                raise BatchMatters(
                    f"{what}: {name} alone and in the batch differ by {distance:.2g}, "
                    f"the tolerance is {self._tolerance:g} and the rounding noise {noise[name]:.2g}"
                )
            self.alone[name] = max(distance, self.alone.get(name, 0.0))

    def _is_near(self, distance: float, noise: float) -> bool:
        return is_near(distance, noise, self._tolerance)


def compare_values(
    graph: Graph,
    reference: Session,
    exact: Session,
    forms: Mapping[str, Session],
    tolerance: float,
    *,
    each_case: Callable[[int], None] = lambda done: None,
) -> tuple[dict[str, Comparison], dict[str, float]]:
    """Run every case on every form and compare.

    Args:
        graph: what signature and sizes are taken from.
        reference: eager torch.
        exact: eager torch in float64.
        forms: the exported forms by name.
        tolerance: the largest absolute difference allowed.
        each_case: told the number of cases done, for a progress bar.

    Returns:
        The comparison of each form, and by output the largest rounding noise of eager torch.

    Raises:
        ShapesDiffer, ValuesDiffer, BatchMatters: at the first difference.
    """
    largest: dict[str, float] = {}
    comparisons = {form: Comparison(form, session, graph, tolerance) for form, session in forms.items()}
    for done, case in enumerate(cases(graph), start=1):
        batch = join(graph.signature.inputs, case.requests)
        expected = reference.run(batch, graph.outputs)
        precise = exact.run(batch, graph.outputs)
        noise = {name: largest_distance(expected[name], precise[name])[0] for name in graph.outputs}
        largest = {name: max(own, largest.get(name, 0.0)) for name, own in noise.items()}
        for comparison in comparisons.values():
            comparison.check(case, batch, expected, noise)
        each_case(done)
    return comparisons, largest


def is_near(distance: float, noise: float, tolerance: float) -> bool:
    """Tell whether a difference is within the tolerance and what is granted for rounding noise."""
    return distance <= tolerance + NOISE * noise


def largest_distance(own: Array, wanted: Array) -> tuple[float, tuple[int, ...]]:
    """Return the largest absolute difference and its place; a NaN counts as the largest of all."""
    distance = np.asarray(np.abs(own.astype(np.float64) - wanted.astype(np.float64)))
    distance[np.isnan(distance)] = np.inf
    place = np.unravel_index(int(distance.argmax()), distance.shape)
    return float(distance[place]), tuple(int(at) for at in place)


def _cells(spec: TensorSpec, sizes: Mapping[str, int]) -> int:
    return int(np.prod([sizes[dim] for dim in spec.dims if isinstance(dim, str)]))
