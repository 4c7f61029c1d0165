"""Which requests take their next step together, and where their rows are: pure choices.

A *step* here is what one request wants of the next run. Requests of very different size run apart, so that
none pays for another's padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from server.contract.tensors import Array
from server.runtime.batching import FREE_PADDING, MAX_WASTE
from server.runtime.stepwise.rows import Block, Places
from server.runtime.stepwise.wiring import Sizes, joint
from server.tasks import Prepared, Search

ROW_CELLS = 64
"""Cells that a row counts for beside its own: what a step costs whatever the sizes."""


@dataclass(slots=True, eq=False)
class Walk:
    """One request on its way: its search, and where its rows are: ``rows`` of ``block``, from ``start`` on.

    ``mates`` counts the requests that shared its last run, itself included.
    """

    prepared: Prepared
    search: Search
    sizes: Sizes
    cells: int
    block: Block
    start: int = 0
    rows: int = 1
    mates: int = 1


@dataclass(slots=True, eq=False)
class Step:
    """What a walk wants of the next step; ``in_order`` says that its rows go on as they are."""

    walk: Walk
    inputs: Mapping[str, Array]
    parents: Places
    sizes: Sizes
    cells: int
    in_order: bool


def groups(steps: Sequence[Step], cells_of: Callable[[Sizes], int]) -> Iterator[list[Step]]:
    """Part steps into those that run together: the padding must be worth the run that it saves."""
    group: list[Step] = []
    sizes: Sizes = {}
    rows = real = 0
    for each in sorted(steps, key=lambda step: step.cells):
        with_it = sizes if each.sizes == sizes else joint((sizes, each.sizes))
        count = len(each.parents)
        own = count * (ROW_CELLS + each.cells)
        padded = (rows + count) * (ROW_CELLS + cells_of(with_it)) if with_it is not sizes else 0
        if group and padded > MAX_WASTE * (real + own) + FREE_PADDING:
            yield group
            group, with_it, rows, real = [], each.sizes, 0, 0
        group.append(each)
        sizes, rows, real = with_it, rows + count, real + own
    if group:
        yield group


def stayed(group: Sequence[Step]) -> bool:
    """Say whether the walks are all that was in the last run, in the same order, with as many rows each."""
    block, start = group[0].walk.block, 0
    for each in group:
        walk = each.walk
        if walk.block is not block or walk.start != start or len(each.parents) != walk.rows:
            return False
        start += walk.rows
    return start == block.rows


def sources_of(group: Sequence[Step]) -> list[tuple[Block, Places]]:
    """Say from which rows of which blocks the rows of the next run come, neighbours in a block together."""
    sources: list[tuple[Block, list[Places]]] = []
    for each in group:
        places = each.walk.start + each.parents
        if sources and sources[-1][0] is each.walk.block:
            sources[-1][1].append(places)
        else:
            sources.append((each.walk.block, [places]))
    return [(block, np.concatenate(parts)) for block, parts in sources]
