"""The numbers behind ``/metrics`` as plain data, which travels between processes and adds up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from server.runtime.loaded_model import LoadedModel
from server.runtime.statistics import Statistics

STARTED = "process_start_time_seconds"


@dataclass(slots=True)
class ModelSnapshot:
    """One version of a model at one moment."""

    name: str
    version: int
    ready: bool
    runtime: str
    device: str
    executors: int
    waiting: int
    waiting_cells: dict[str, int]
    statistics: Statistics
    running: int = 0

    @classmethod
    def of(cls, model: LoadedModel) -> ModelSnapshot:
        """Take the numbers of a loaded model."""
        return cls(
            model.name,
            model.version,
            model.state == "ready",
            model.runtime or "",
            model.device or "",
            model.executors,
            model.waiting[0],
            model.waiting_cells,
            model.statistics,
            model.running,
        )

    def plus(self, other: ModelSnapshot) -> ModelSnapshot:
        """Return the numbers of the same model in two processes; it is ready when both say so."""
        statistics = Statistics()
        statistics.include(self.statistics)
        statistics.include(other.statistics)
        return ModelSnapshot(
            self.name,
            self.version,
            self.ready and other.ready,
            self.runtime,
            self.device,
            self.executors + other.executors,
            self.waiting + other.waiting,
            dict(Counter(self.waiting_cells) + Counter(other.waiting_cells)),
            statistics,
            self.running + other.running,
        )


@dataclass(slots=True)
class Snapshot:
    """All numbers of one process, or of several together.

    ``http`` counts by route and status; ``process`` holds what the system says of the process, by name.
    ``batch_lines`` and ``batches`` are counts of ``BatchCounts``, ``batch_running`` the lines in flight.
    """

    models: list[ModelSnapshot] = field(default_factory=list)
    http: dict[tuple[str, int], int] = field(default_factory=dict)
    process: dict[str, float] = field(default_factory=dict)
    batch_lines: dict[str, int] = field(default_factory=dict)
    batches: dict[str, int] = field(default_factory=dict)
    batch_running: int = 0

    def plus(self, other: Snapshot) -> Snapshot:
        """Return the numbers of both."""
        models = {(model.name, model.version): model for model in self.models}
        for model in other.models:
            key = (model.name, model.version)
            models[key] = models[key].plus(model) if key in models else model
        http = Counter(self.http) + Counter(other.http)
        names = {**self.process, **other.process}
        process = {name: self.process.get(name, 0.0) + other.process.get(name, 0.0) for name in names}
        if starts := [part[STARTED] for part in (self.process, other.process) if STARTED in part]:
            process[STARTED] = min(starts)
        return Snapshot(
            list(models.values()),
            dict(http),
            process,
            dict(Counter(self.batch_lines) + Counter(other.batch_lines)),
            dict(Counter(self.batches) + Counter(other.batches)),
            self.batch_running + other.batch_running,
        )
