"""Small pointer networks and solved points."""

import torch

from models.data.geometry import Drawing, load_instances
from models.plane_geometry import POINT, STOP, normalised
from models.pointer_network import PointerNetwork, PointerNetworkConfig
from models.pointing import PointingOptions, PointingRecipe

SHAPE = {"hidden": 6, "attention": 5}
VARIANTS = [
    {"task": "convex_hull"},
    {"task": "convex_hull", "order": "angle", "geometry": True},
    {"task": "delaunay", "order": "x", "layers": 2},
    {"task": "tour", "order": "angle", "glimpse_heads": 3, "geometry": True},
]
IDS = ["the paper's hull", "hull", "delaunay", "tour"]


def network(**options):
    torch.manual_seed(3)
    return PointerNetwork(PointerNetworkConfig(**SHAPE | options)).eval()


def elements(config, *counts, seed=0):
    """Points of several instances as one padded batch: normalised points and kinds."""
    generator = torch.Generator().manual_seed(seed)
    clouds = [torch.rand(count, 2, generator=generator) for count in counts]
    width = max(counts) + config.stops
    points, kinds = torch.zeros(len(counts), width, 2), torch.zeros(len(counts), width, dtype=torch.int64)
    for row, cloud in enumerate(clouds):
        points[row, config.stops : config.stops + len(cloud)] = cloud
        kinds[row, config.stops : config.stops + len(cloud)] = POINT
        if config.stops:
            kinds[row, 0] = STOP
    return normalised(points, kinds), kinds


def instances(task, counts, seed, folder):
    return load_instances(Drawing(task, counts, seed), folder=folder)


def recipe(task, folder, shape=None, counts=None, **options):
    counts = counts or {5: 12, 6: 12}
    return PointingRecipe(
        "pointer_network",
        instances(task, counts, 1, folder),
        instances(task, counts, 2, folder),
        PointingOptions(**{"examples_a_batch": 12} | options),
        SHAPE | {"task": task} | (shape or {}),
    )
