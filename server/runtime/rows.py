"""Raw tensors of a client that did words and padding itself: checked, cut into rows, put together again.

A request of N rows waits as N entries in the batcher, so it is joined, bounded and answered like N requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from server.contract.bundle import Bundle
from server.contract.manifest import TensorSpec
from server.contract.tensors import DTYPES, Array, Arrays
from server.errors import InputTooLong, InvalidRequest

T = TypeVar("T")

TOKENS = "_tokens"
"""Inputs whose names end so hold ids of the bundle's vocabulary."""


def check_batch(bundle: Bundle, arrays: Arrays, outputs: Sequence[str], max_rows: int) -> int:
    """Return how many rows the arrays have, batch axis first.

    Raises:
        InvalidRequest: a name, a type, a shape or a token id is not what the manifest says.
        InputTooLong: more rows than ``max_rows``, or an axis above its limit (``max_facts`` for ``facts``).
    """
    signature = bundle.manifest.signature
    _check_names("input", arrays, [spec.name for spec in signature.inputs])
    _check_names("output", outputs, [spec.name for spec in signature.outputs])
    for spec in signature.inputs:
        if spec.name not in arrays:
            raise InvalidRequest(f"input {spec.name!r} is missing", fields=[spec.name])
        _check_array(spec, arrays[spec.name], bundle.manifest.limits)
    rows = {len(array) for array in arrays.values()}
    if len(rows) > 1:
        raise InvalidRequest("the inputs have different numbers of rows", fields=sorted(arrays))
    count = rows.pop()
    if count > max_rows:
        raise InputTooLong(
            f"the request has {count} rows, this model takes {max_rows} (ENGRAM_MAX_BATCH_SIZE)",
            fields=sorted(arrays),
        )
    known = bundle.vocabulary or bundle.subwords
    if known is not None:
        for name in (name for name in arrays if name.endswith(TOKENS)):
            _check_tokens(name, arrays[name], len(known))
    return count


def cut(arrays: Arrays, rows: int) -> list[dict[str, Array]]:
    """Return each row's arrays, without the batch axis."""
    return [{name: array[row] for name, array in arrays.items()} for row in range(rows)]


def stack(rows: Sequence[Arrays]) -> dict[str, Array]:
    """Put the outputs of rows together, batch axis first.

    Rows are of equal size, but for axes that no input has, such as the steps of a decoder: zeros fill these.
    """
    if len(rows) == 1:
        return {name: array[None] for name, array in rows[0].items()}
    return {name: _stacked([row[name] for row in rows]) for name in rows[0]}


def _stacked(arrays: Sequence[Array]) -> Array:
    shapes = {array.shape for array in arrays}
    if len(shapes) == 1:
        return np.stack(arrays)
    joined = np.zeros((len(arrays), *map(max, zip(*shapes, strict=True))), arrays[0].dtype)
    for row, array in zip(joined, arrays, strict=True):
        row[tuple(map(slice, array.shape))] = array
    return joined


async def together(requests: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Await every row's request; the first failure withdraws the others and is raised as it is."""
    first, *others = requests
    if not others:
        return [await first]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(request) for request in (first, *others)]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


def _check_names(what: str, names: Arrays | Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise InvalidRequest(
                f"there is no {what} {name[:160]!r}, this model has {', '.join(known)}", fields=[name[:160]]
            )


def _check_array(spec: TensorSpec, array: Array, limits: Mapping[str, int]) -> None:
    fields = [spec.name]
    if array.dtype != DTYPES[spec.datatype]:
        raise InvalidRequest(f"input {spec.name!r} must be {spec.datatype}", fields=fields)
    if array.ndim != len(spec.dims):
        raise InvalidRequest(
            f"input {spec.name!r} has {array.ndim} axes, expected {list(spec.dims)}", fields=fields
        )
    for dim, size in zip(spec.dims, array.shape, strict=True):
        if size == 0 or (isinstance(dim, int) and size != dim):
            expected = dim if isinstance(dim, int) else "at least 1"
            raise InvalidRequest(
                f"input {spec.name!r}: axis {dim!r} is {size}, expected {expected}", fields=fields
            )
        if size > (limit := limits.get(f"max_{dim}", size)):
            raise InputTooLong(
                f"input {spec.name!r}: axis {dim!r} is {size}, this model takes {limit} "
                f"(manifest: max_{dim})",
                fields=fields,
            )


def _check_tokens(name: str, tokens: Array, known: int) -> None:
    lowest, highest = int(tokens.min()), int(tokens.max())
    if lowest < 0 or highest >= known:
        strange = lowest if lowest < 0 else highest
        raise InvalidRequest(
            f"input {name!r} holds the token id {strange}, this model knows 0 to {known - 1}", fields=[name]
        )
