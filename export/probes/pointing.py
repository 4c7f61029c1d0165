"""Golden probes of the task ``point``: clouds of several numbers of points."""

from __future__ import annotations

from typing import cast

import numpy as np

from server.contract.bundle import Bundle
from server.contract.tensors import Arrays
from server.tasks import TASKS
from server.tasks.pointing_form import PointRequest, PointTask

COUNTS = (3, 4, 5, 8, 13, 20)
"""Points of the probes; a model that takes fewer gets as many as it takes."""


def probes(bundle: Bundle) -> list[Arrays]:
    """Draw points and prepare them as the server does."""
    task, limit = TASKS["point"](), bundle.manifest.limits["max_points"]
    wanted = cast(PointTask, bundle.manifest.selector["task"])
    rng = np.random.default_rng(0)
    requests = [
        PointRequest(wanted, [(x, y) for x, y in rng.random((count, 2)).tolist()])
        for count in dict.fromkeys(min(count, limit) for count in COUNTS)
    ]
    return [task.prepare(request, bundle).arrays for request in requests]
