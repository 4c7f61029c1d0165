"""How models run: the few choices that the runtime takes from the settings."""

from __future__ import annotations

from dataclasses import dataclass

from server.contract.manifest import RuntimeName


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """Choices for every model of a repository.

    A *cell* is the unit of cost: one entry of a request's largest input, such as one word of one fact.

    Attributes:
        runtime: runtime for every model; ``None`` leaves the choice to each manifest.
        device: ``cpu``, ``cuda`` (fails when CUDA is not what runs) or ``auto``.
        executors: threads for each model, each with a session of its own.
        max_batch_size: most requests in one batch.
        max_batch_cost: most cells, padding included, in a batch of several requests.
        max_queue_cost: most cells that wait for a model before requests are refused.
        max_attention_weights: largest attention that an answer carries in full.
        executor_stall_s: a run that takes longer has lost its executor.
        warm_up: run a few large shapes before a model is ready.
    """

    runtime: RuntimeName | None = None
    device: str = "cpu"
    executors: int = 1
    max_batch_size: int = 32
    max_batch_cost: int = 8_192
    max_queue_cost: int = 1_000_000
    max_attention_weights: int = 100_000
    executor_stall_s: float = 60.0
    warm_up: bool = True

    def __post_init__(self) -> None:
        for name in ("executors", "max_batch_size", "max_batch_cost", "max_queue_cost"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, it must be at least 1")
        if self.executor_stall_s <= 0:
            raise ValueError(f"executor_stall_s is {self.executor_stall_s}, it must be above 0")
        if self.device not in ("cpu", "cuda", "auto"):
            raise ValueError(f"device is {self.device!r}, it must be cpu, cuda or auto")
