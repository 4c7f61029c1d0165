"""How the stages of a model flow into one another, read off the names in its manifest.

``server.tasks.stepwise`` has the rules. A *cell* is the unit of cost: one entry of the largest tensor that a
row brings, counting only the axes whose sizes differ from request to request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from server.contract.manifest import NEXT, Manifest, Stage, TensorSpec
from server.contract.tensors import sizes_of
from server.tasks import Prepared

Sizes = Mapping[str, int]
"""The size of each named axis, by its name."""


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A prepared request with its sizes, before its encoder has run.

    ``shape`` and ``cells`` are those of its largest array, as far as they are known before its first step.
    """

    prepared: Prepared
    sizes: Sizes
    shape: tuple[int, ...]
    cells: int


@dataclass(frozen=True)
class Wiring:
    """The stages of one model. ``states`` are step inputs with a ``next_``, ``made`` those of the encoder.

    ``sized`` are step inputs with named axes, and ``axes`` those axes; ``cuts`` are step outputs with named
    axes, with the name of each, empty for a fixed one.
    """

    encoder: Stage | None
    step: Stage
    states: frozenset[str]
    made: frozenset[str]
    sized: tuple[TensorSpec, ...]
    axes: tuple[tuple[str, ...], ...]
    cuts: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, manifest: Manifest) -> Wiring:
        """Read the stages of a manifest, which has checked that they fit."""
        encoder, step = manifest.stages.get("encoder"), manifest.stages["step"]
        inputs = {spec.name for spec in step.inputs}
        outputs = {spec.name for spec in step.outputs}
        return cls(
            encoder,
            step,
            frozenset(name for name in inputs if NEXT + name in outputs),
            frozenset(spec.name for spec in encoder.outputs if spec.name in inputs)
            if encoder
            else frozenset(),
            tuple(spec for spec in step.inputs if named_axes(spec)),
            tuple({named_axes(spec): None for spec in step.inputs}),
            {
                spec.name: tuple(dim if isinstance(dim, str) else "" for dim in spec.dims[1:])
                for spec in step.outputs
                if named_axes(spec)
            },
        )

    def cells(self, sizes: Sizes) -> int:
        """Return how many cells a row of these sizes has; axes without a size count as one."""
        return max(prod(sizes.get(axis, 1) for axis in axes) for axes in self.axes)

    def encoder_outputs(self, wanted: Iterable[str]) -> list[str]:
        """List what to compute of the encoder: what the step takes, and what is wanted besides."""
        assert self.encoder is not None
        needed = self.made.union(wanted)
        return [spec.name for spec in self.encoder.outputs if spec.name in needed]

    def step_outputs(self, wanted: Iterable[str]) -> list[str]:
        """List what to compute of the step: every state, and what is wanted besides."""
        needed = {NEXT + name for name in self.states}.union(wanted)
        return [spec.name for spec in self.step.outputs if spec.name in needed]

    def newcomer(self, prepared: Prepared) -> Newcomer:
        """Measure a prepared request.

        Raises:
            ValueError: its arrays do not fit the stages.
        """
        encoder = self.encoder.inputs if self.encoder else ()
        carried = [spec for spec in self.step.inputs if spec.name in prepared.arrays]
        sizes = sizes_of((*encoder, *carried), prepared.arrays)
        shapes = [
            tuple(sizes[axis] for axis in named_axes(spec) if axis in sizes) for spec in (*encoder, *carried)
        ]
        shape = max(shapes, key=prod, default=())
        return Newcomer(prepared, sizes, shape, max(prod(shape), self.cells(sizes)))


def named_axes(spec: TensorSpec) -> tuple[str, ...]:
    """Return the axes of a tensor whose sizes differ from request to request."""
    return tuple(dim for dim in spec.dims[1:] if isinstance(dim, str))


def axis_sizes(spec: TensorSpec, shape: Sequence[int]) -> dict[str, int]:
    """Return the size of each named axis of one row of this shape."""
    return {dim: size for dim, size in zip(spec.dims[1:], shape, strict=True) if isinstance(dim, str)}


def joint(sizes: Sequence[Sizes]) -> dict[str, int]:
    """Return the largest size of each axis."""
    largest: dict[str, int] = {}
    for own in sizes:
        for axis, size in own.items():
            if size > largest.get(axis, 0):
                largest[axis] = size
    return largest
