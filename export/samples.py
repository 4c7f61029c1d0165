"""Random requests of chosen sizes: the inputs on which exported forms are traced and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from export.wrappers import Graph
from server.contract.manifest import TensorSpec
from server.contract.tensors import DTYPES, Array, Arrays, join

EXAMPLE_BATCH = 2

Request = Arrays
"""Named arrays of one request, without the batch axis."""


def random_requests(
    graph: Graph, sizes: Mapping[str, int], batch: int, rng: np.random.Generator
) -> Sequence[Request]:
    """Draw a batch of requests: the first has these sizes, the others are anything down to 1."""
    smaller = [
        {axis: int(rng.integers(1, size, endpoint=True)) for axis, size in sizes.items()}
        for _ in range(batch - 1)
    ]
    return draw(graph, (sizes, *smaller), rng)


def draw(graph: Graph, sizes: Sequence[Mapping[str, int]], rng: np.random.Generator) -> Sequence[Request]:
    """Draw a request for each of the given sizes, as the graph wants them or of anything."""
    if graph.draw is not None:
        return graph.draw(sizes, rng)
    return [
        {spec.name: random_array(spec, own, graph.ids, rng) for spec in graph.signature.inputs}
        for own in sizes
    ]


def random_array(spec: TensorSpec, sizes: Mapping[str, int], ids: int, rng: np.random.Generator) -> Array:
    """Fill an input: ids in rows of mixed length that are padded at the end, numbers in 0..1, or yes."""
    shape = [sizes[dim] if isinstance(dim, str) else dim for dim in spec.dims[1:]]
    if spec.datatype != "INT64":
        numbers = rng.random(shape) if spec.datatype == "FP32" else np.ones(shape)
        return numbers.astype(DTYPES[spec.datatype])
    values = rng.integers(spec.pad + 1, ids, size=shape)
    if not shape:
        return values
    lengths = rng.integers(1, shape[-1], endpoint=True, size=shape[:-1])
    lengths.flat[0] = shape[-1]
    return np.where(np.arange(shape[-1]) < lengths[..., None], values, spec.pad)


def example(graph: Graph) -> tuple[torch.Tensor, ...]:
    """Draw the batch that is traced.

    Its sizes are distinct, so that a swapped axis shows itself, and none is 1, which would be frozen.
    Each input is a tensor of its own: the exporter would take the same object for the same input.
    """
    sizes = {axis: place for place, axis in enumerate(graph.limits, start=EXAMPLE_BATCH + 1)}
    requests = random_requests(graph, sizes, EXAMPLE_BATCH, np.random.default_rng(0))
    batch = join(graph.signature.inputs, requests)
    return tuple(torch.tensor(batch[name]) for name in graph.inputs)
