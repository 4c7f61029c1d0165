"""Random requests of chosen sizes: the inputs on which exported forms are traced and compared."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from export.wrappers import Graph
from server.contract.manifest import TensorSpec
from server.contract.tensors import Array, join

EXAMPLE_BATCH = 2

Request = dict[str, Array]
"""Named arrays of one request, without the batch axis."""


def random_request(graph: Graph, sizes: Mapping[str, int], rng: np.random.Generator) -> Request:
    """Draw a request of exactly these sizes, whose rows are of mixed length and padded at the end."""
    return {spec.name: _random_ids(spec, sizes, graph.ids, rng) for spec in graph.signature.inputs}


def random_requests(
    graph: Graph, sizes: Mapping[str, int], batch: int, rng: np.random.Generator
) -> list[Request]:
    """Draw a batch of requests: the first has these sizes, the others are anything down to 1."""
    smaller = [
        {axis: int(rng.integers(1, size, endpoint=True)) for axis, size in sizes.items()}
        for _ in range(batch - 1)
    ]
    return [random_request(graph, own, rng) for own in (sizes, *smaller)]


def example(graph: Graph) -> tuple[torch.Tensor, ...]:
    """Draw the batch that is traced.

    Its sizes are distinct, so that a swapped axis shows itself, and none is 1, which would be frozen.
    Each input is a tensor of its own: the exporter would take the same object for the same input.
    """
    sizes = {axis: place for place, axis in enumerate(graph.limits, start=EXAMPLE_BATCH + 1)}
    requests = random_requests(graph, sizes, EXAMPLE_BATCH, np.random.default_rng(0))
    batch = join(graph.signature.inputs, requests)
    return tuple(torch.from_numpy(batch[name]) for name in graph.inputs)


def _random_ids(spec: TensorSpec, sizes: Mapping[str, int], ids: int, rng: np.random.Generator) -> Array:
    shape = [sizes[dim] if isinstance(dim, str) else dim for dim in spec.dims[1:]]
    values = rng.integers(spec.pad + 1, ids, size=shape)
    lengths = rng.integers(1, shape[-1], endpoint=True, size=shape[:-1])
    lengths.flat[0] = shape[-1]
    return np.where(np.arange(shape[-1]) < lengths[..., None], values, spec.pad)
