"""The training loop of every family: starts, epochs, early stopping, checkpoints that resume, a log and a plot.

A family brings a ``Recipe`` (network, batches, loss, evaluation); everything around it is here. A run folder holds
``log.csv``, ``state.pt`` (to resume), ``best.pt`` (the checkpoint) and ``training.png``.
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from models.checkpoint import Checkpoint, save_atomically, save_checkpoint


@dataclass(frozen=True)
class TrainingOptions:
    """How long and how fast to learn.

    ``patience`` is the number of epochs without a lower validation loss after which a start ends (0 = never).
    ``starts`` different seeds are tried, the best by validation wins; a start whose validation error is at most
    ``good_enough`` ends the search. A start also ends once its validation loss is at most ``target_loss``.
    ``weight_decay`` is decoupled (AdamW).
    """

    epochs: int = 20
    learning_rate: float = 1e-3
    warmup_steps: int = 200
    final_learning_rate: float = 1e-5
    weight_decay: float = 0.0
    clip: float = 5.0
    patience: int = 0
    starts: int = 1
    good_enough: float = 0.0
    target_loss: float = 0.0
    seed: int = 1
    device: str = "cpu"


@dataclass(frozen=True)
class Evaluation:
    """One look at the validation data: ``loss`` decides, ``error`` (percent) and ``groups`` (percent each) inform."""

    loss: float
    error: float
    groups: dict[str, float] = field(default_factory=dict)
    extra: dict[str, float] = field(default_factory=dict)


class Recipe(Protocol):
    """What a family brings to the loop."""

    def network(self) -> nn.Module:
        """Build a freshly initialised network; the random seed is already set."""
        ...

    def batches(self, epoch: int, epochs: int, rng: np.random.Generator) -> tuple[int, Iterable[Any]]:
        """Return the number of examples of this epoch and its batches."""
        ...

    def loss(self, network: nn.Module, batch: Any) -> tuple[Tensor, int]:
        """Return the mean loss of a batch and its number of examples."""
        ...

    def evaluate(self, network: nn.Module) -> Evaluation:
        """Measure on the validation data."""
        ...

    def checkpoint(self, network: nn.Module, training: dict[str, Any], metrics: dict[str, Any]) -> Checkpoint:
        """Describe the trained network."""
        ...

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs besides network and optimiser (plain values)."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what ``state`` returned."""
        ...


@dataclass
class Position:
    """Where a run stands; all that a resumed run needs besides weights and optimiser."""

    start: int = 0
    epoch: int = 0
    step: int = 0
    own_best: float = math.inf
    stale: int = 0
    seconds: float = 0.0


class Trainer:
    """Runs a recipe in a run folder. Calling ``fit`` again after a kill goes on at the last finished epoch."""

    def __init__(
        self,
        recipe: Recipe,
        options: TrainingOptions,
        folder: Path,
        provenance: dict[str, Any],
        quiet: bool = False,
    ) -> None:
        self.recipe = recipe
        self.options = options
        self.folder = folder
        self.provenance = provenance
        self.quiet = quiet
        self.best_loss = math.inf
        self.best_error = math.inf

    def fit(self) -> Path:
        """Train all starts and return the path of the best checkpoint."""
        self.folder.mkdir(parents=True, exist_ok=True)
        position, state = self._load_state()
        with _progress(self.quiet) as progress:
            while position.start < self.options.starts and self.best_error > self.options.good_enough:
                self._fit_start(position, state, progress)
                position, state = Position(start=position.start + 1, seconds=position.seconds), None
        plot_log(self.folder / "log.csv", self.folder / "training.png")
        return self.folder / "best.pt"

    def _fit_start(self, at: Position, state: dict[str, Any] | None, progress: Progress) -> None:
        seed = self.options.seed + at.start
        torch.manual_seed(seed)
        network = self.recipe.network().to(self.options.device)
        optimiser = torch.optim.AdamW(
            network.parameters(), lr=self.options.learning_rate, weight_decay=self.options.weight_decay
        )
        if state is not None:
            network.load_state_dict(state["network"])
            optimiser.load_state_dict(state["optimiser"])
            torch.set_rng_state(state["rng"])
            self.recipe.restore(state["recipe"])
        while not self._is_over(at):
            began = time.monotonic()
            rng = np.random.default_rng([seed, at.epoch])
            train_loss = self._epoch(network, optimiser, at, rng, progress)
            evaluation = self.recipe.evaluate(network)
            at.seconds += time.monotonic() - began
            at.epoch += 1
            at.stale = 0 if evaluation.loss < at.own_best else at.stale + 1
            at.own_best = min(at.own_best, evaluation.loss)
            self._log(at, train_loss, evaluation)
            if evaluation.loss < self.best_loss:
                self._keep(network, at, evaluation)
            progress.console.print(_line(at, self.options.epochs, train_loss, evaluation), highlight=False)
            self._save_state(at, network, optimiser)

    def _is_over(self, at: Position) -> bool:
        out_of_patience = 0 < self.options.patience <= at.stale
        return at.epoch >= self.options.epochs or out_of_patience or at.own_best <= self.options.target_loss

    def _epoch(
        self,
        network: nn.Module,
        optimiser: torch.optim.Optimizer,
        at: Position,
        rng: np.random.Generator,
        progress: Progress,
    ) -> float:
        network.train()
        examples, batches = self.recipe.batches(at.epoch, self.options.epochs, rng)
        bar = progress.add_task(f"epoch {at.epoch + 1}/{self.options.epochs}", total=examples, loss="")
        total, seen = 0.0, 0
        for batch in batches:
            share = (at.epoch + seen / examples) / self.options.epochs
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(self.options, at.step, share)
            loss, count = self.recipe.loss(network, batch)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), self.options.clip)
            optimiser.step()
            at.step += 1
            total, seen = total + float(loss.detach()) * count, seen + count
            progress.update(bar, advance=count, loss=f"loss {total / seen:.4f}")
        progress.remove_task(bar)
        return total / max(seen, 1)

    def _keep(self, network: nn.Module, at: Position, evaluation: Evaluation) -> None:
        self.best_loss, self.best_error = evaluation.loss, evaluation.error
        training = self.provenance | {
            "seed": self.options.seed + at.start,
            "start": at.start + 1,
            "epoch": at.epoch,
            "seconds": round(at.seconds),
        }
        metrics = {"validation": {**asdict(evaluation)}}
        save_checkpoint(self.recipe.checkpoint(network, training, metrics), self.folder / "best.pt")

    def _save_state(self, at: Position, network: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        content = {
            "position": asdict(at),
            "best_loss": self.best_loss,
            "best_error": self.best_error,
            "network": network.state_dict(),
            "optimiser": optimiser.state_dict(),
            "rng": torch.get_rng_state(),
            "recipe": self.recipe.state(),
        }
        save_atomically(content, self.folder / "state.pt")

    def _load_state(self) -> tuple[Position, dict[str, Any] | None]:
        path = self.folder / "state.pt"
        if not path.exists():
            return Position(), None
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        self.best_loss, self.best_error = state["best_loss"], state["best_error"]
        return Position(**state["position"]), state

    def _log(self, at: Position, train_loss: float, evaluation: Evaluation) -> None:
        path = self.folder / "log.csv"
        row: dict[str, Any] = {"start": at.start + 1, "epoch": at.epoch, "seconds": at.seconds}
        row |= {"train_loss": train_loss, "valid_loss": evaluation.loss, "valid_error": evaluation.error}
        row |= evaluation.extra | {f"error {name}": value for name, value in evaluation.groups.items()}
        fresh = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as log:
            writer = csv.DictWriter(log, row)
            if fresh:
                writer.writeheader()
            writer.writerow({name: round(value, 5) for name, value in row.items()})


def learning_rate(options: TrainingOptions, step: int, share: float) -> float:
    """Linear warm-up by step, then half a cosine over the run; ``share`` is the part of it that is done."""
    low, high = options.final_learning_rate, options.learning_rate
    cosine = low + (high - low) * 0.5 * (1 + math.cos(math.pi * share))
    return min(1.0, (step + 1) / max(1, options.warmup_steps)) * cosine


def plot_log(log: Path, picture: Path) -> None:
    """Draw the losses and the validation error of a run's log over the epochs."""
    from matplotlib.figure import Figure

    with log.open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for start in dict.fromkeys(row["start"] for row in rows):
        own = [row for row in rows if row["start"] == start]
        epochs = [int(row["epoch"]) for row in own]
        left.plot(epochs, [float(row["train_loss"]) for row in own], label=f"start {start}: training")
        left.plot(epochs, [float(row["valid_loss"]) for row in own], "--", label=f"start {start}: validation")
        right.plot(epochs, [float(row["valid_error"]) for row in own], label=f"start {start}")
    left.set(xlabel="epoch", ylabel="loss", yscale="log")
    right.set(xlabel="epoch", ylabel="validation error, %")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(picture, dpi=120)


def _progress(quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(),
        disable=quiet,
    )


def _line(at: Position, epochs: int, train_loss: float, evaluation: Evaluation) -> str:
    per_epoch = at.seconds / (at.start * epochs + at.epoch)
    worst = sorted(evaluation.groups.items(), key=lambda pair: -pair[1])[:8]
    groups = "  ".join(f"{name}: {value:.1f}" for name, value in worst if value > 0)
    return (
        f"start {at.start + 1} epoch {at.epoch}/{epochs}  loss {train_loss:.4f}  valid {evaluation.loss:.4f}  "
        f"error {evaluation.error:.2f} % ({groups})  {at.seconds:.0f} s, {per_epoch * (epochs - at.epoch):.0f} s left"
    )
