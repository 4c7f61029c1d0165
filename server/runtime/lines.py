"""Who is next: requests that wait, in a line for each priority, the more urgent ones ahead.

A pure order, without clock or loop. ``RequestQueue`` holds a model's lines, ``Admission`` bounds them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from enum import IntEnum
from itertools import chain, islice
from typing import Generic, Protocol, TypeVar

MOST_OVERTAKEN = 15
"""Batches in a row that may begin with a more urgent request while a less urgent one waits."""


class Priority(IntEnum):
    """How urgent a request is: Triton's numbers, of which lower ones go first."""

    INTERACTIVE = 1
    BATCH = 2

    @property
    def label(self) -> str:
        """Its name in headers and metrics."""
        return self.name.lower()


class Placed(Protocol):
    """Something that waits at a priority, and what it counts for in cells."""

    priority: Priority
    cost: int


E = TypeVar("E", bound=Placed)


class Lines(Generic[E]):
    """Requests in order of arrival, in a line for each priority.

    A batch begins with the oldest of the most urgent line that is not empty. So that no line waits for ever,
    one that was passed over ``MOST_OVERTAKEN`` times in a row begins the next batch.
    """

    def __init__(self) -> None:
        self._lines: dict[Priority, OrderedDict[int, E]] = {each: OrderedDict() for each in Priority}
        self._overtaken = dict.fromkeys(Priority, 0)
        self.costs = dict.fromkeys(Priority, 0)
        """What the requests of each priority count for."""
        self.cost = 0
        """What all of them count for."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def cost_ahead(self, priority: Priority) -> int:
        """Return what those count for that run before a newcomer of this priority."""
        ahead = 0
        for each, cost in self.costs.items():
            if each <= priority:
                ahead += cost
        return ahead

    def add(self, entry: E) -> None:
        """Let a request wait."""
        self._lines[entry.priority][id(entry)] = entry
        self.costs[entry.priority] += entry.cost
        self.cost += entry.cost
        self._count += 1

    def remove(self, entry: E) -> bool:
        """Take a request out, and say whether it waited."""
        if self._lines[entry.priority].pop(id(entry), None) is None:
            return False
        self.costs[entry.priority] -= entry.cost
        self.cost -= entry.cost
        self._count -= 1
        return True

    def values(self) -> Iterator[E]:
        """Return all, the more urgent ones first."""
        return chain.from_iterable(line.values() for line in self._lines.values())

    def begin_batch(self) -> Iterator[E]:
        """Return the request that begins the next batch, and then those that may join it.

        More urgent ones may join any batch. Less urgent ones may not: no urgent answer waits for their part
        of a run. Call it once for each batch, while anything waits.
        """
        waiting = [each for each, line in self._lines.items() if line]
        due = next((each for each in waiting if self._overtaken[each] >= MOST_OVERTAKEN), waiting[0])
        self._overtaken[due] = 0
        for each in waiting:
            self._overtaken[each] += each > due
        own = self._lines[due].values()
        urgent = (self._lines[each].values() for each in waiting if each < due)
        return chain(islice(own, 1), *urgent, islice(own, 1, None))
