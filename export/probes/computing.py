"""Golden probes of the task ``compute``: problems of several sizes, long carry chains among them."""

from __future__ import annotations

from typing import cast

import numpy as np

from models.data.arithmetic import kinds, operand_digits, problem
from server.contract.bundle import Bundle
from server.contract.tensors import Arrays
from server.tasks import TASKS
from server.tasks.computing import Base, ComputeRequest, Operation

LARGEST_CELLS = (1, 5, 12, 41, 101)
"""Sizes of the problems; a model that takes fewer cells gets as many as it takes."""


def probes(bundle: Bundle) -> list[Arrays]:
    """Make problems of the bundle's own operation and prepare them as the server does."""
    task, manifest = TASKS["compute"](), bundle.manifest
    operation = cast(Operation, manifest.selector["operation"])
    base = cast(Base, manifest.selector["base"])
    rng = np.random.default_rng(0)
    sizes = dict.fromkeys(min(cells, manifest.limits["max_cells"]) for cells in LARGEST_CELLS)
    problems = [
        problem(operation, base, operand_digits(operation, cells), rng, kind)
        for cells in sizes
        for kind in kinds(operation)
    ]
    requests = [ComputeRequest(operation, list(one.operands), base) for one in problems]
    return [task.prepare(request, bundle).arrays for request in requests]
