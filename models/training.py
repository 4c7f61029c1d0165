"""The training loop of every family: starts, epochs, early stopping, and state to resume from.

A family brings a ``Recipe`` (network, batches, loss, evaluation); everything around it is here, and what a
run leaves behind is in ``models.run_folder``.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from models.checkpoint import Checkpoint, load_checkpoint, save_atomically, save_checkpoint
from models.clipped_adamax import ClippedAdamax
from models.recipe import Evaluation, Recipe
from models.run_folder import RunFolder, differences

OPTIMISERS: dict[str, type[torch.optim.AdamW] | type[ClippedAdamax]] = {
    "adamw": torch.optim.AdamW,
    "adamax": ClippedAdamax,
}
"""Optimisers by the name they have in presets."""


@dataclass(frozen=True)
class TrainingOptions:
    """How long and how fast to learn.

    ``learning_rate`` is reached linearly over ``warmup_steps`` and falls along half a cosine to
    ``final_learning_rate``; ``clip`` bounds the norm of the gradient, ``weight_decay`` is decoupled (AdamW).
    ``patience`` is the number of epochs without a lower validation loss after which a start ends (0 = never).
    ``starts`` different seeds are tried, from ``seed`` on, and the best by validation loss wins; once its
    validation error (percent) is at most ``good_enough``, no further start begins. A start also ends once its
    validation loss is at most ``target_loss``. ``device`` is ``cpu``, ``cuda`` or ``cuda:1``. ``optimiser``
    is ``adamw``, or ``adamax`` with clipping by entry (``models.clipped_adamax``).
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
    optimiser: Literal["adamw", "adamax"] = "adamw"

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with, a device that is not there included."""
        for name, least in {"epochs": 1, "starts": 1, "patience": 0, "warmup_steps": 0, "seed": 0}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        for name in ("learning_rate", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        kind, colon, number = self.device.partition(":")
        if kind not in ("cpu", "cuda") or (colon and not number.isdecimal()):
            raise ValueError(f"device must be cpu, cuda or cuda:NUMBER, got {self.device!r}")
        if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
            raise ValueError(
                f"device {self.device!r} is not there: torch sees {torch.cuda.device_count()} GPUs"
            )


@dataclass
class Position:
    """Where a run stands; all that a resumed run needs besides weights and optimiser."""

    start: int = 0
    epoch: int = 0
    step: int = 0
    own_best: float = math.inf
    stale: int = 0
    seconds: float = 0.0


class TrainingStopped(Exception):
    """Training cannot begin or go on; the message is meant for the user."""


class Trainer:
    """Runs a recipe in a run folder. Calling ``fit`` again after a kill goes on at the last finished epoch.

    On the CPU a resumed run is the uninterrupted one, bit for bit.
    """

    def __init__(
        self,
        recipe: Recipe,
        options: TrainingOptions,
        folder: Path,
        provenance: dict[str, Any],
        *,
        quiet: bool = False,
        begin_with: Checkpoint | None = None,
    ) -> None:
        """Take what is learnt, how, and where it goes.

        Args:
            recipe: network, batches, loss and evaluation.
            options: how long and how fast.
            folder: the run folder.
            provenance: what the checkpoint shall say about where it comes from.
            quiet: show no progress.
            begin_with: a trained network whose weights every start begins with, instead of random ones.

        Raises:
            TrainingStopped: that network is another one: its family, configuration, words or answers differ.
        """
        self.recipe = recipe
        self.options = options
        self.folder = RunFolder(folder)
        self.provenance = provenance
        self.quiet = quiet
        self.first_weights = None if begin_with is None else _weights_for(recipe, begin_with)
        self.fresh = recipe.state()
        self.best_loss = math.inf
        self.best_error = math.inf

    def fit(self) -> Path:
        """Train all starts and return the path of the best checkpoint.

        Raises:
            TrainingStopped: the folder holds another run, or the loss is no longer a number.
        """
        position, state = self._load_state()
        with _progress(self.quiet) as progress:
            while state is not None or self._wants(position.start):
                self._fit_start(position, state, progress)
                position, state = Position(start=position.start + 1, seconds=position.seconds), None
        self.folder.draw()
        return self.folder.best

    def _wants(self, start: int) -> bool:
        return start < self.options.starts and self.best_error > self.options.good_enough

    def _fit_start(self, at: Position, state: dict[str, Any] | None, progress: Progress) -> None:
        seed = self.options.seed + at.start
        torch.manual_seed(seed)
        network = self.recipe.network().to(self.options.device)
        optimiser = OPTIMISERS[self.options.optimiser](
            network.parameters(), lr=self.options.learning_rate, weight_decay=self.options.weight_decay
        )
        self.recipe.restore(self.fresh if state is None else state["recipe"])
        if state is None and self.first_weights is not None:
            network.load_state_dict(self.first_weights)
        if state is not None:
            network.load_state_dict(state["network"])
            optimiser.load_state_dict(state["optimiser"])
            torch.set_rng_state(state["rng"])
        while not self._is_over(at):
            began = time.monotonic()
            rng = np.random.default_rng([seed, at.epoch])
            train_loss = self._epoch(network, optimiser, at, rng, progress)
            evaluation = self.recipe.evaluate(network)
            if not (math.isfinite(train_loss) and math.isfinite(evaluation.loss)):
                raise TrainingStopped(
                    f"the loss is no longer a number in epoch {at.epoch + 1} of start {at.start + 1}; "
                    "a smaller training.learning_rate or training.clip may help"
                )
            seconds = time.monotonic() - began
            at.seconds += seconds
            at.epoch += 1
            at.stale = 0 if evaluation.loss < at.own_best else at.stale + 1
            at.own_best = min(at.own_best, evaluation.loss)
            self._log(at, train_loss, evaluation)
            if evaluation.loss < self.best_loss:
                self._keep(network, at, evaluation)
            self._save_state(at, network, optimiser)
            if not self.quiet:
                line = _line(at, self.options.epochs, train_loss, evaluation, seconds)
                progress.console.print(line, highlight=False, markup=False, soft_wrap=True)

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
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
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
        save_checkpoint(self.recipe.checkpoint(network, training, metrics), self.folder.best)

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
        save_atomically(content, self.folder.state)

    def _load_state(self) -> tuple[Position, dict[str, Any] | None]:
        self._refuse_another_run()
        if not self.folder.state.exists():
            self.folder.drop_rows_after(0, 0)
            return Position(), None
        state: dict[str, Any] = torch.load(self.folder.state, map_location="cpu", weights_only=True)
        self.best_loss, self.best_error = state["best_loss"], state["best_error"]
        position = Position(**state["position"])
        self.folder.drop_rows_after(position.start + 1, position.epoch)
        return position, state

    def _refuse_another_run(self) -> None:
        if not self.folder.best.exists():
            return
        planned = self.recipe.checkpoint(self.recipe.network(), self.provenance, {})
        changed = differences(load_checkpoint(self.folder.best), planned)
        if changed:
            raise TrainingStopped(
                f"{self.folder.path} holds another run: {'; '.join(changed)}. "
                "Choose another folder with --run, or remove this one to begin anew"
            )

    def _log(self, at: Position, train_loss: float, evaluation: Evaluation) -> None:
        row: dict[str, Any] = {"start": at.start + 1, "epoch": at.epoch, "seconds": at.seconds}
        row |= {"train_loss": train_loss, "valid_loss": evaluation.loss, "valid_error": evaluation.error}
        row |= evaluation.extra | {f"error {name}": value for name, value in evaluation.groups.items()}
        self.folder.add_row({name: round(value, 5) for name, value in row.items()})


def _weights_for(recipe: Recipe, begin_with: Checkpoint) -> dict[str, Tensor]:
    """Return the weights to begin with, once it is certain that they are of the same network.

    What is dropped while learning may differ.
    """
    planned = recipe.checkpoint(recipe.network(), {}, {})
    for what in ("family", "words", "answers"):
        if getattr(planned, what) != getattr(begin_with, what):
            raise TrainingStopped(f"the network to begin with is another one: its {what} differ")
    ours, theirs = planned.config, begin_with.config
    for name in ours | theirs:
        if ours.get(name) != theirs.get(name) and not name.endswith("dropout"):
            raise TrainingStopped(f"the network to begin with is another one: its {name} differs")
    return begin_with.weights


def learning_rate(options: TrainingOptions, step: int, share: float) -> float:
    """Linear warm-up by step, then half a cosine over the run; ``share`` is the part of it that is done."""
    low, high = options.final_learning_rate, options.learning_rate
    cosine = low + (high - low) * 0.5 * (1 + math.cos(math.pi * share))
    return min(1.0, (step + 1) / max(1, options.warmup_steps)) * cosine


def _progress(quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(),
        disable=quiet,
    )


def _line(at: Position, epochs: int, train_loss: float, evaluation: Evaluation, seconds: float) -> str:
    """Say where a start stands; the time left assumes that its other epochs take as long as this one did."""
    worst = sorted(evaluation.groups.items(), key=lambda pair: -pair[1])[:8]
    groups = "  ".join(f"{name}: {value:.1f}" for name, value in worst if value > 0)
    return (
        f"start {at.start + 1} epoch {at.epoch}/{epochs}  loss {train_loss:.4f}  "
        f"valid {evaluation.loss:.4f}  error {evaluation.error:.2f} %{f' ({groups})' if groups else ''}  "
        f"{_clock(at.seconds)} gone, {_clock(seconds * (epochs - at.epoch))} left"
    )


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
