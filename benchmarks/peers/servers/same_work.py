"""What every peer runs for a batch: prepare, run and interpret, by this project's own functions.

Each peer imports this module in its own environment. So all of them do the work that our server does:
sentences come, and the answer with its hops, evidence and labels goes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.in_process import InProcess
from server.contract.bundle import Bundle

MAX_BATCH, VERSION = 32, 1


def open_model() -> InProcess:
    """Open the bundle the benchmark names, in a session as our own server has."""
    return InProcess(Bundle.open(Path(os.environ["BENCHMARKED_BUNDLE"]), VERSION), [])


def bodies(model: InProcess, requests: Sequence[bytes]) -> list[bytes]:
    """Answer requests that are JSON, of any lengths, as one batch."""
    return model.answer_bodies(requests)


def objects(model: InProcess, requests: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Answer decoded requests of any lengths as one batch; the results are for the peer to encode."""
    return model.answer_objects(requests)
