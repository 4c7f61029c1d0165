"""Which waiting requests run together: a pure choice, bounded in size, cost and padding.

The unit of cost is a cell: one entry of a request's largest input, such as one word of one fact.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from math import prod
from typing import Protocol, TypeVar

MAX_WASTE = 1.5
"""A batch holds at most this many cells for each cell that is not padding ..."""

FREE_PADDING = 512
"""... beside this many, which cost less time than the run that is saved."""

LOOK_AHEAD = 256
"""Waiting requests that are looked at for one batch; it bounds the time a choice takes."""


class Sized(Protocol):
    """Something whose largest input has a shape."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the largest input, without the batch axis."""
        ...


S = TypeVar("S", bound=Sized)


def choose(waiting: Iterable[S], max_size: int, max_cost: int) -> list[S]:
    """Choose the next batch: the oldest request, and with it those of nearest cost that fit.

    Args:
        waiting: requests, the oldest first; at least one.
        max_size: most requests in a batch.
        max_cost: most cells, padding included, of a batch of several requests.
    """
    oldest, *others = islice(waiting, LOOK_AHEAD)
    batch, shape, real = [oldest], oldest.shape, prod(oldest.shape)
    cost = real
    for candidate in sorted(others, key=lambda request: abs(prod(request.shape) - cost)):
        if len(batch) == max_size:
            break
        joint = tuple(map(max, shape, candidate.shape))
        padded, cells = (len(batch) + 1) * prod(joint), real + prod(candidate.shape)
        if padded <= max_cost and padded <= MAX_WASTE * cells + FREE_PADDING:
            batch.append(candidate)
            shape, real = joint, cells
    return batch


class ServiceRate:
    """How fast one executor works off cells, as observed; recent batches count most."""

    def __init__(self) -> None:
        self._cells = 0.0
        self._seconds = 0.0

    def observe(self, cells: int, seconds: float) -> None:
        """Take note of a batch."""
        self._cells = 0.9 * self._cells + cells
        self._seconds = 0.9 * self._seconds + seconds

    def seconds_for(self, cells: int) -> float:
        """Return how long this many cells take; one second as long as nothing was observed."""
        return cells * self._seconds / self._cells if self._cells else 1.0
