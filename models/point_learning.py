"""How pointing is learnt and measured: what its options and command lines mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from rich.progress import Progress

from models.checkpoint import Checkpoint
from models.data.geometry import Drawing, Instances, Task, load_instances
from models.families import build
from models.learning import Cell, DataChoice, Plan, ResultTable
from models.pointer_network import PointerNetworkConfig
from models.pointing import PointingOptions, PointingRecipe, follow
from models.presets import options_from
from models.training import TrainingOptions

SOURCE = "generated"
VALID_SEED, TEST_SEED = 1_000_000, 2_000_000
"""Added to the seed: training, validation and test instances are never the same."""

TEST_SIZES: dict[Task, dict[int, int]] = {
    "convex_hull": {5: 2_000, 10: 2_000, 50: 1_000, 100: 500, 200: 200, 500: 100},
    "delaunay": {5: 2_000, 10: 1_000},
    "tour": {5: 10_000, 10: 10_000, 20: 1_000},
}
"""Instances of the test by size."""

GENERATED = {
    "name": "uniform points",
    "licence": "made by the project",
    "source": "models.data.geometry",
    "note": "points uniform in the unit square; hulls and triangulations by scipy (Qhull), "
    "tours exact up to 12 cities, above by iterated 2-opt and Or-opt",
}


@dataclass(frozen=True)
class PointSelection:
    """What is drawn: ``instances`` of ``smallest`` to ``largest`` points.

    There are as many of each size at ``lean`` 0, and in proportion to ``size ** lean`` else.
    ``valid_instances`` is the number of those that validation has of each third size. ``kicks`` is the effort
    of the search for tours of more than twelve cities, ``processes`` how many make instances.
    """

    source: str = SOURCE
    smallest: int = 5
    largest: int = 20
    instances: int = 100_000
    lean: float = 0.0
    valid_instances: int = 200
    kicks: int = 20
    processes: int = 1

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be drawn."""
        if self.source != SOURCE:
            raise ValueError(f"points are {SOURCE}, there is no other source: got {self.source!r}")
        if not 4 <= self.smallest <= self.largest:
            raise ValueError(
                f"data.smallest must be at least 4 and at most data.largest ({self.largest}), "
                f"got {self.smallest}"
            )
        for name in ("instances", "valid_instances", "processes"):
            if getattr(self, name) < 1:
                raise ValueError(f"data.{name} must be at least 1, got {getattr(self, name)}")

    def counts(self) -> dict[int, int]:
        """Return how many instances of each size to draw for training."""
        weights = {size: size**self.lean for size in range(self.smallest, self.largest + 1)}
        total = sum(weights.values())
        return {size: max(1, round(self.instances * weight / total)) for size, weight in weights.items()}

    def valid_counts(self) -> dict[int, int]:
        """Return the same for validation: at most four sizes, the smallest and the largest among them."""
        span = self.largest - self.smallest
        sizes = sorted({self.smallest + round(span * share / 3) for share in range(4)})
        return dict.fromkeys(sizes, self.valid_instances)


class PointLearning:
    """Learning to point (a ``models.learning.Learning``)."""

    selection: ClassVar[type] = PointSelection
    options: ClassVar[type] = PointingOptions
    given: ClassVar[tuple[str, ...]] = ()

    def plan(
        self, family: str, tables: dict[str, dict[str, Any]], choice: DataChoice, training: TrainingOptions
    ) -> Plan:
        """Draw and solve the instances, or find them in the cache, and build the recipe."""
        learning = options_from(PointingOptions, "learning", tables["learning"])
        chosen = {"source": choice.source} if choice.source else {}
        selection = options_from(PointSelection, "data", tables["data"] | chosen)
        if choice.valid or choice.tasks:
            raise ValueError("points are drawn: there are no validation files and no parts to choose")
        config = options_from(PointerNetworkConfig, "network", tables["network"])
        train = drawn(
            Drawing(config.task, selection.counts(), training.seed, selection.kicks), selection.processes
        )
        valid = drawn(
            Drawing(config.task, selection.valid_counts(), training.seed + VALID_SEED, selection.kicks),
            selection.processes,
        )
        recipe = PointingRecipe(family, train, valid, learning, tables["network"], training.device)
        counts = [sum(len(own.points_CP2) for own in part.values()) for part in (train, valid)]
        summary = (
            f"{config.task}: {counts[0]:,} training and {counts[1]:,} validation instances "
            f"of {selection.smallest} to {selection.largest} points"
        )
        return Plan(recipe, asdict(learning), asdict(selection), (GENERATED,), (), (summary,))

    def measure(self, checkpoints: Mapping[str, Checkpoint], choice: DataChoice) -> ResultTable:
        """Measure how often greedy decoding finds the whole answer, by size."""
        rows: list[dict[str, Cell]] = []
        for name, checkpoint in checkpoints.items():
            network = build(checkpoint)
            for size, own in held_out(checkpoint.config["task"], choice).items():
                loss, exact = follow(network, own)
                label = name if len(checkpoints) > 1 else checkpoint.config["task"]
                rows.append(
                    {
                        "network": label,
                        "points": size,
                        "instances": len(own.points_CP2),
                        "loss": loss,
                        "exact %": 100 * exact,
                    }
                )
        return ResultTable("drawn points, not seen in training, decoded greedily", rows, decimals=4)


def held_out(task: Task, choice: DataChoice) -> dict[int, Instances]:
    """Return the test (or validation) instances by size; round trips are proven to be the shortest.

    Raises:
        ValueError: the choice is not one of sizes, or of generated points.
    """
    if choice.source not in ("", SOURCE) or choice.valid:
        raise ValueError(f"points are {SOURCE}, there is no other source")
    counts = TEST_SIZES[task]
    if choice.tasks:
        counts = {size: counts.get(size, 1_000) for size in _sizes(choice.tasks)}
    seed = VALID_SEED if choice.split == "valid" else TEST_SEED
    return drawn(Drawing(task, counts, seed, proven=True), 1)


def _sizes(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) >= 4 for part in parts):
        raise ValueError(f"--tasks is a list of sizes such as 5,10,50, of at least 4 points: {text!r}")
    return [int(part) for part in parts]


def drawn(drawing: Drawing, processes: int) -> dict[int, Instances]:
    """Load instances, with a progress bar while they are made."""
    with Progress(transient=True) as progress:
        bar = progress.add_task(f"solving {drawing.task} instances", total=sum(drawing.counts.values()))
        return load_instances(drawing, processes, lambda done: progress.update(bar, completed=done))
