"""How models run: the few choices that the runtime takes from the settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from server.contract.manifest import RuntimeName

MOST_EXECUTORS = 4
"""Executors of a model that nobody asked for: more pay only where one model has all cores to itself."""


def executors_for(workers: int) -> int:
    """Return how many executors a model has in each of so many workers: one for each core, up to a few."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(MOST_EXECUTORS, cores // workers))


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """Choices for every model of a repository.

    A *cell* is the unit of cost: one entry of a request's largest input, such as one word of one fact.

    Attributes:
        runtime: runtime for every model; ``None`` leaves the choice to each manifest.
        device: ``cpu``, ``cuda`` (fails when CUDA is not what runs) or ``auto``.
        executors: threads for each model, each with a session of its own.
        model_executors: how many a model of this name has instead.
        max_batch_size: most requests in one batch.
        max_batch_cost: most cells, padding included, in a batch of several requests.
        max_queue_cost: most cells that wait for a model before requests are refused.
        max_queue_ms: the time after which an interactive request must run, by the observed rate; one that
            would wait longer is refused.
        max_attention_weights: largest attention that an answer carries in full.
        executor_stall_s: a run that takes longer has lost its executor.
        warm_up: run a few large shapes before a model is ready.
    """

    runtime: RuntimeName | None = None
    device: str = "cpu"
    executors: int = 1
    model_executors: Mapping[str, int] = field(default_factory=dict)
    max_batch_size: int = 32
    max_batch_cost: int = 3_072
    max_queue_cost: int = 1_000_000
    max_queue_ms: float = 75.0
    max_attention_weights: int = 100_000
    executor_stall_s: float = 60.0
    warm_up: bool = True

    def __post_init__(self) -> None:
        for name in ("executors", "max_batch_size", "max_batch_cost", "max_queue_cost"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, it must be at least 1")
        for name in ("executor_stall_s", "max_queue_ms"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, it must be above 0")
        if strange := [name for name, count in self.model_executors.items() if count < 1]:
            raise ValueError(
                f"model_executors has {strange[0]}={self.model_executors[strange[0]]}, expected 1 or more"
            )
        if self.device not in ("cpu", "cuda", "auto"):
            raise ValueError(f"device is {self.device!r}, it must be cpu, cuda or auto")

    def of(self, model: str) -> RuntimeOptions:
        """Return the choices for the model of this name."""
        return replace(self, executors=self.model_executors.get(model, self.executors))
