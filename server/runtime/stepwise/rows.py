"""Rows of many requests in joint arrays: gathered, padded when a longer one joins, cropped when it has left.

Axis 0 of every array here counts rows; a request owns consecutive ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from server.contract.manifest import TensorSpec
from server.contract.tensors import DTYPES, Array
from server.runtime.stepwise.wiring import Sizes

Places = NDArray[np.intp]
"""Rows of a block, by number."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """What the rows of a run carry to their next step: states and memory, by the name of the step's input."""

    arrays: Mapping[str, Array]
    rows: int


def gather(spec: TensorSpec, sources: Sequence[tuple[Array, Places]], sizes: Sizes) -> Array:
    """Put rows of several arrays below each other, each padded or cropped to the same sizes.

    Args:
        spec: what the arrays hold, for dtype, axes and padding.
        sources: arrays, and which rows of each, in order.
        sizes: the size of each named axis in the result.
    """
    shape = shape_of(spec, sizes)
    if len(sources) == 1:
        array, places = sources[0]
        cropped = array[(slice(None), *map(slice, shape))]
        if cropped.shape[1:] == shape:
            return cropped[places]
    total = sum(len(places) for _, places in sources)
    joined = np.full((total, *shape), spec.pad, dtype=DTYPES[spec.datatype])
    start = 0
    for array, places in sources:
        cut = tuple(map(slice, map(min, array.shape[1:], shape)))
        joined[(slice(start, start + len(places)), *cut)] = array[(slice(None), *cut)][places]
        start += len(places)
    return joined


def join_rows(spec: TensorSpec, parts: Sequence[Array], sizes: Sizes) -> Array:
    """Put whole arrays below each other, each padded to the same sizes."""
    dtype, shape = DTYPES[spec.datatype], shape_of(spec, sizes)
    if all(part.shape[1:] == shape for part in parts):
        return np.ascontiguousarray(parts[0] if len(parts) == 1 else np.concatenate(parts), dtype=dtype)
    joined = np.full((sum(map(len, parts)), *shape), spec.pad, dtype=dtype)
    start = 0
    for part in parts:
        joined[(slice(start, start + len(part)), *map(slice, part.shape[1:]))] = part
        start += len(part)
    return joined


def shape_of(spec: TensorSpec, sizes: Sizes) -> tuple[int, ...]:
    """Return the shape of one row."""
    return tuple(sizes[dim] if isinstance(dim, str) else dim for dim in spec.dims[1:])
