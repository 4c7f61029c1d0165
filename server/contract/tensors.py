"""Joining single requests into one padded batch and taking the results apart again.

Padding follows the axis names of the manifest, so it is the same code for every model:
an axis called ``facts`` is padded to the longest of the batch on the way in, and every output that
has an axis called ``facts`` is cut back to the request's own length on the way out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from server.contract.manifest import TensorSpec

Array = NDArray[np.generic]
Arrays = Mapping[str, Array]
"""Named arrays. Of one request: without the batch axis. Of a batch: with it in front."""

DTYPES: dict[str, type[np.generic]] = {"INT64": np.int64, "FP32": np.float32, "BOOL": np.bool_}
"""Manifest datatype to numpy dtype."""


def sizes_of(specs: Sequence[TensorSpec], arrays: Arrays) -> dict[str, int]:
    """Return the size of every named axis of one request's arrays (no batch axis).

    Raises:
        ValueError: an array is missing, has the wrong rank, or two arrays disagree about an axis.
    """
    sizes: dict[str, int] = {}
    for spec in specs:
        if spec.name not in arrays:
            raise ValueError(f"input {spec.name!r} is missing")
        shape, dims = arrays[spec.name].shape, spec.dims[1:]
        if len(shape) != len(dims):
            raise ValueError(f"input {spec.name!r} has {len(shape)} axes, expected {list(dims)}")
        for dim, size in zip(dims, shape, strict=True):
            expected = sizes.setdefault(dim, size) if isinstance(dim, str) else dim
            if size != expected:
                raise ValueError(f"input {spec.name!r}: axis {dim!r} is {size}, expected {expected}")
    return sizes


def join(specs: Sequence[TensorSpec], requests: Sequence[Arrays]) -> dict[str, Array]:
    """Pad each request to the longest of the batch and stack them, batch axis first."""
    batch: dict[str, Array] = {}
    for spec in specs:
        arrays = [request[spec.name] for request in requests]
        if len(arrays) == 1:
            batch[spec.name] = np.ascontiguousarray(arrays[0][None], dtype=DTYPES[spec.datatype])
            continue
        shapes = [array.shape for array in arrays]
        shape = tuple(map(max, zip(*shapes, strict=True)))
        joined = np.full((len(arrays), *shape), spec.pad, dtype=DTYPES[spec.datatype])
        for row, array in enumerate(arrays):
            if array.shape == shape:
                joined[row] = array
            else:
                joined[row][tuple(map(slice, array.shape))] = array
        batch[spec.name] = joined
    return batch


def split(
    specs: Sequence[TensorSpec], outputs: Arrays, sizes: Sequence[Mapping[str, int]]
) -> list[dict[str, Array]]:
    """Cut a batch's outputs into one dictionary per request, with all padding removed.

    Args:
        specs: the outputs to cut; those absent from ``outputs`` are skipped.
        outputs: arrays with the batch axis first.
        sizes: per request the size of each named input axis, as ``sizes_of`` returns it.
    """
    results: list[dict[str, Array]] = [{} for _ in sizes]
    for spec in specs:
        if spec.name not in outputs:
            continue
        named = str in map(type, spec.dims[1:])
        for result, own, row in zip(results, sizes, outputs[spec.name], strict=False):
            result[spec.name] = row[_own_part(spec, own)] if named else row
    return results


def _own_part(spec: TensorSpec, sizes: Mapping[str, int]) -> tuple[slice, ...]:
    return tuple([slice(sizes.get(dim) if isinstance(dim, str) else None) for dim in spec.dims[1:]])
