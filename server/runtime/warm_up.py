"""Runs a session at a few sizes up to its limits before it answers anyone.

The first run of a size is slow and makes the runtime's memory grow; a model that is ready has both behind it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from math import ceil, prod

import numpy as np

from server.contract.manifest import GraphSpec, TensorSpec
from server.contract.tensors import DTYPES, Array, Arrays
from server.runtime.options import RuntimeOptions
from server.runtime.session import Session

BUCKETS = (1 / 16, 1 / 4, 1.0)
"""Parts of the limits of a model that each stand for the requests around them."""

LONG_S = 1.0
"""Where a run takes as long, larger ones are left out: a start would wait for them, and they gain little."""


def warm_up(
    session: Session, signature: GraphSpec, limits: Mapping[str, int], probe: Arrays, options: RuntimeOptions
) -> None:
    """Run one request, and then a batch of as many as a batch may hold, of each bucket.

    Ends early after a run longer than ``LONG_S``.

    Args:
        session: what to warm.
        signature: the graph's inputs and outputs.
        limits: the largest size of each axis, by name: ``max_facts`` for ``facts``.
        probe: a request whose values fill the larger ones.
        options: how large a batch may be.

    Raises:
        RunError: the graph fails within its own limits.
    """
    names = [spec.name for spec in signature.outputs]
    for batch, sizes in shapes(signature, limits, probe, options):
        inputs = {spec.name: _filled(spec, probe[spec.name], batch, sizes) for spec in signature.inputs}
        begun = time.perf_counter()
        session.run(inputs, names)
        if time.perf_counter() - begun > LONG_S:
            return


def shapes(
    signature: GraphSpec, limits: Mapping[str, int], probe: Arrays, options: RuntimeOptions
) -> Iterator[tuple[int, dict[str, int]]]:
    """Yield the batch sizes and axis sizes to run, the smallest first."""
    own = {
        dim: size
        for spec in signature.inputs
        for dim, size in zip(spec.dims[1:], probe[spec.name].shape, strict=True)
    }
    for bucket in BUCKETS:
        sizes = {
            dim: ceil(limits[f"max_{dim}"] * bucket) if f"max_{dim}" in limits else size
            for dim, size in own.items()
            if isinstance(dim, str)
        }
        cells = max(prod(sizes.get(str(dim), 1) for dim in spec.dims[1:]) for spec in signature.inputs)
        full = min(options.max_batch_size, options.max_batch_cost // cells)
        yield from ((batch, sizes) for batch in sorted({1, max(1, full)}))


def _filled(spec: TensorSpec, values: Array, batch: int, sizes: Mapping[str, int]) -> Array:
    shape = [sizes[dim] if isinstance(dim, str) else dim for dim in spec.dims[1:]]
    return np.resize(values, (batch, *shape)).astype(DTYPES[spec.datatype])
