"""What a training run leaves behind: the checkpoint, the state to resume from, a log and a plot of it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from models.checkpoint import Checkpoint

MAY_CHANGE = frozenset({"device", "starts", "good_enough"})
"""What a resumed run may change: where it computes, and when the search over starts ends."""


class RunFolder:
    """The files of one run: ``best.pt``, ``state.pt``, ``log.csv`` and ``training.png``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.best = path / "best.pt"
        self.state = path / "state.pt"
        self.log = path / "log.csv"
        self.picture = path / "training.png"

    def add_row(self, row: Mapping[str, Any]) -> None:
        """Append one epoch to the log, below a header that names the columns."""
        self.path.mkdir(parents=True, exist_ok=True)
        fresh = not self.log.exists()
        with self.log.open("a", newline="", encoding="utf-8") as log:
            writer = csv.DictWriter(log, row)
            if fresh:
                writer.writeheader()
            writer.writerow(row)

    def drop_rows_after(self, start: int, epoch: int) -> None:
        """Drop what the log says beyond the saved state: a run killed in between does these epochs again."""
        if not self.log.exists():
            return
        with self.log.open(newline="", encoding="utf-8") as log:
            header, *lines = [*log, ""]
        whole = [line for line in lines if line.endswith("\n")]
        kept = [line for line in whole if tuple(map(int, line.split(",")[:2])) <= (start, epoch)]
        self.log.unlink()
        if kept:
            with self.log.open("w", newline="", encoding="utf-8") as log:
                log.writelines([header, *kept])

    def draw(self) -> None:
        """Draw the losses and the validation error of the log over the epochs."""
        from matplotlib.figure import Figure  # noqa: PLC0415 - it is slow to import, and only needed here

        with self.log.open(encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
        figure = Figure(figsize=(9, 4), layout="constrained")
        left, right = figure.subplots(1, 2)
        for start in dict.fromkeys(row["start"] for row in rows):
            own = [row for row in rows if row["start"] == start]
            epochs = [int(row["epoch"]) for row in own]
            left.plot(epochs, [float(row["train_loss"]) for row in own], label=f"start {start}: training")
            left.plot(
                epochs, [float(row["valid_loss"]) for row in own], "--", label=f"start {start}: validation"
            )
            right.plot(epochs, [float(row["valid_error"]) for row in own], label=f"start {start}")
        left.set(xlabel="epoch", ylabel="loss", yscale="log")
        right.set(xlabel="epoch", ylabel="validation error, %")
        for axes in (left, right):
            axes.grid(alpha=0.3)
            axes.legend()
        figure.savefig(self.picture, dpi=120)


def differences(kept: Checkpoint, planned: Checkpoint) -> list[str]:
    """Say in which ways a planned run is not the one that a checkpoint comes from.

    Options that only one of them knows are not compared, so a run survives the arrival of a new option.
    """
    changed = [] if kept.family == planned.family else [f"family was {kept.family}, is {planned.family}"]
    changed += _changed(kept.config, planned.config)
    before, now = kept.training.get("options", {}), planned.training["options"]
    changed += _changed(before, {name: now.get(name, value) for name, value in before.items()})
    changed += _changed(kept.training.get("selection", {}), planned.training["selection"])
    if not changed and (kept.words, kept.answers) != (planned.words, planned.answers):
        changed.append("the stories have other words or answers")
    return changed


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in [name for name in {**before, **now} if name not in MAY_CHANGE]:
        old, new = (json.dumps(values.get(name), sort_keys=True) for values in (before, now))
        if old != new:  # compared as JSON, so that a tuple equals a list
            yield f"{name} was {old}, is {new}"
