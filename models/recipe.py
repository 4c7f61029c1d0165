"""What a family brings to the training loop (``models.training``)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

from models.checkpoint import Checkpoint


@dataclass(frozen=True)
class Evaluation:
    """One look at the validation data: ``loss`` decides, the rest informs.

    ``error`` is in percent, ``groups`` the same for each task, ``extra`` further columns of the log.
    """

    loss: float
    error: float
    groups: dict[str, float] = field(default_factory=dict)
    extra: dict[str, float] = field(default_factory=dict)


class Recipe(Protocol):
    """Network, batches, loss and evaluation of a family on its data; the loop does the rest."""

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
        """Return a copy of what a resumed run needs besides network and optimiser (plain values)."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what ``state`` returned; every start begins with the first such state."""
        ...
