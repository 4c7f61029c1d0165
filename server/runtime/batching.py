"""Which waiting requests run together: a pure choice, bounded in size, cost and padding.

The unit of cost is a cell: one entry of a request's largest input, such as one word of one fact.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from math import prod
from typing import Protocol, TypeVar

MAX_WASTE = 1.25
"""A batch holds at most this many cells for each cell that is not padding ..."""

FREE_PADDING = 128
"""... beside this many, which cost about as much time as the run that is saved."""

LOOK_AHEAD = 256
"""Waiting requests that are looked at for one batch; it bounds the time a choice takes."""


class Sized(Protocol):
    """Something whose largest input has a shape, and so many cells."""

    @property
    def cells(self) -> int:
        """The product of ``shape``."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the largest input, without the batch axis."""
        ...


S = TypeVar("S", bound=Sized)


def _distance(shape: tuple[int, ...], other: Sized) -> int:
    """Return the padding that a request would need beside one of this shape, up to a constant."""
    return other.cells if other.shape == shape else 2 * prod(map(max, shape, other.shape)) - other.cells


def choose(waiting: Iterable[S], max_size: int, max_cost: int) -> list[S]:
    """Choose the next batch: the oldest request, and with it those of nearest shape that fit.

    The nearest are those with which the oldest alone would need the least padding.

    Args:
        waiting: requests, the oldest first; at least one.
        max_size: most requests in a batch.
        max_cost: most cells, padding included, of a batch of several requests.
    """
    oldest, *others = islice(waiting, LOOK_AHEAD)
    batch, shape, row, real = [oldest], oldest.shape, oldest.cells, oldest.cells
    own = oldest.shape
    for candidate in sorted(others, key=lambda each: _distance(own, each)):
        if len(batch) == max_size or (len(batch) + 1) * row > max_cost:
            break
        joint, joint_row = shape, row
        if candidate.shape != shape:
            joint = tuple(map(max, shape, candidate.shape))
            joint_row = prod(joint)
        padded, cells = (len(batch) + 1) * joint_row, real + candidate.cells
        if padded <= max_cost and padded <= MAX_WASTE * cells + FREE_PADDING:
            batch.append(candidate)
            shape, row, real = joint, joint_row, cells
    return batch


class ServiceRate:
    """How fast one executor works off cells, as observed; recent batches count most."""

    def __init__(self) -> None:
        self._cells = 0.0
        self._seconds = 0.0

    @property
    def is_known(self) -> bool:
        """Whether anything was observed."""
        return self._cells > 0

    def observe(self, cells: int, seconds: float) -> None:
        """Take note of a batch."""
        self._cells = 0.9 * self._cells + cells
        self._seconds = 0.9 * self._seconds + seconds

    def seconds_for(self, cells: int) -> float:
        """Return how long this many cells take; one second as long as nothing was observed."""
        return cells * self._seconds / self._cells if self._cells else 1.0
