"""How pointer networks learn: the cross-entropy of each step along the one arrangement that is taught.

Used for every family whose task is ``point``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from models.checkpoint import Checkpoint
from models.data.geometry import SYMMETRIES, Instances, canonical, mirrored
from models.families import FAMILIES
from models.plane_geometry import POINT, STOP, normalised, reading_keys
from models.pointer_network import PointerNetwork, PointerNetworkConfig
from models.presets import options_from
from models.recipe import Evaluation
from models.reinforcement import reinforce_loss, sampled_tours, tour_lengths

NOTHING = -1
"""The target after the end of an answer."""

AT_ONCE = 100
"""Instances that are followed at a time."""


@dataclass(frozen=True)
class PointingOptions:
    """What is learnt from, and how.

    ``examples_a_batch`` instances of one size make a batch. With ``mirror`` each batch is turned by one of
    the eight symmetries of the square (POMO's instance augmentation, Kwon et al. 2020, arXiv 2010.16011,
    section 4.3, used in training).
    ``reinforce_share`` of the epochs at the end learn round trips from the lengths of ``samples`` trips of
    each instance (``models.reinforcement``), not from the known answers.
    ``serve_max_points`` is the limit a bundle of this network will state.
    """

    examples_a_batch: int = 128
    mirror: bool = True
    reinforce_share: float = 0.0
    samples: int = 8
    serve_max_points: int = 100


class PointBatch(NamedTuple):
    """Instances of one size, and what to point at."""

    points_BP2: Tensor
    kinds_BP: Tensor
    targets_BS: Tensor
    """Elements in the taught arrangement, the stop at the end, then ``NOTHING``."""


@dataclass
class PointingRecipe:
    """Training of a pointer network on solved instances (a ``models.recipe.Recipe``).

    ``shape`` are fields of the family's configuration, the task among them.
    """

    family: str
    train: Mapping[int, Instances]
    valid: Mapping[int, Instances]
    options: PointingOptions
    shape: dict[str, Any]
    device: str = "cpu"
    reinforcing: bool = False

    def __post_init__(self) -> None:
        """Read the shape of the network.

        Raises:
            ValueError: a field of ``shape`` is wrong, or what is not a round trip shall learn from lengths.
        """
        self.config: PointerNetworkConfig = options_from(FAMILIES[self.family].config, "network", self.shape)
        if self.options.reinforce_share > 0 and (self.config.task != "tour" or self.options.samples < 2):
            raise ValueError("learning.reinforce_share needs network.task=tour and learning.samples above 1")

    @property
    def parameters(self) -> int:
        """Count the weights of the network."""
        return sum(weight.numel() for weight in self.network().parameters())

    def network(self) -> nn.Module:
        """Build the network."""
        return FAMILIES[self.family].network(self.config)

    def batches(self, epoch: int, epochs: int, rng: np.random.Generator) -> tuple[int, Iterable[PointBatch]]:
        """Return the number of instances and their batches, all of one size each, in random order."""
        self.reinforcing = epoch >= epochs * (1 - self.options.reinforce_share)
        return sum(len(own.points_CP2) for own in self.train.values()), self._drawn(rng)

    def _drawn(self, rng: np.random.Generator) -> Iterator[PointBatch]:
        parts = []
        for size, own in self.train.items():
            order = rng.permutation(len(own.points_CP2))
            step = self.options.examples_a_batch
            parts += [(size, order[start : start + step]) for start in range(0, len(order), step)]
        for place in rng.permutation(len(parts)):
            size, rows = parts[place]
            points_CP2 = self.train[size].points_CP2[rows]
            if self.options.mirror:
                points_CP2 = mirrored(points_CP2, int(rng.integers(SYMMETRIES)))
            yield make_batch(self.config, Instances(points_CP2, self.train[size].answers_CL[rows]))

    def batch(self, instances: Instances) -> PointBatch:
        """Make a batch of instances: normalised points, the stop before them, answers as they are taught."""
        return make_batch(self.config, instances)

    def loss(self, network: nn.Module, batch: PointBatch) -> tuple[Tensor, int]:
        """Return the mean cross-entropy of a step (or REINFORCE's loss), and the number of instances."""
        points, kinds, targets = (part.to(self.device) for part in batch)
        if self.reinforcing:
            assert isinstance(network, PointerNetwork)
            return reinforce_loss(network, points, kinds, self.options.samples), len(points)
        logits_BSP: Tensor = network(points, kinds, targets)
        return cross_entropy(logits_BSP.flatten(0, 1), targets.flatten(), ignore_index=NOTHING), len(points)

    def evaluate(self, network: nn.Module) -> Evaluation:
        """Measure loss, and the share of instances with a step that greedy decoding would take elsewhere.

        Where lengths are learnt from, the loss is the mean length of greedy round trips over the known ones.
        """
        followed = {size: follow(network, own, self.device) for size, own in self.valid.items()}
        groups = {str(size): 100 * (1 - exact) for size, (_, exact) in followed.items()}
        loss = float(np.mean([loss for loss, _ in followed.values()]))
        if self.options.reinforce_share > 0:
            loss = float(np.mean([self._stretch(network, own) for own in self.valid.values()]))
        return Evaluation(loss=loss, error=float(np.mean(list(groups.values()))), groups=groups)

    def _stretch(self, network: nn.Module, instances: Instances) -> float:
        """Return the mean length of greedy round trips over that of the known ones."""
        assert isinstance(network, PointerNetwork)
        batch = make_batch(self.config, instances)
        points, kinds, targets = (part.to(self.device) for part in batch)
        found = tour_lengths(points, sampled_tours(network, points, kinds, greedy=True))
        return float(found.mean() / tour_lengths(points, targets).mean())

    def checkpoint(self, network: nn.Module, training: dict[str, Any], metrics: dict[str, Any]) -> Checkpoint:
        """Describe the trained network."""
        return Checkpoint(
            family=self.family,
            config=asdict(self.config),
            weights=network.state_dict(),
            words=[],
            answers=[],
            limits={"max_points": self.options.serve_max_points},
            selector={"task": self.config.task},
            training=training,
            metrics=metrics,
        )

    def state(self) -> dict[str, Any]:
        """Return nothing: every epoch is drawn anew from its own seed."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Need nothing."""


def follow(network: nn.Module, instances: Instances, device: str = "cpu") -> tuple[float, float]:
    """Follow the known answers of instances of one size.

    Returns:
        The mean cross-entropy of a step, and the share of instances whose every step is the network's first
        choice: those that greedy decoding answers as taught.
    """
    network.eval()
    config: PointerNetworkConfig = network.config  # type: ignore[assignment]  # torch types it as a tensor
    loss, exact, count = 0.0, 0, len(instances.points_CP2)
    with torch.inference_mode():
        for start in range(0, count, AT_ONCE):
            rows = slice(start, start + AT_ONCE)
            batch = make_batch(config, Instances(instances.points_CP2[rows], instances.answers_CL[rows]))
            points, kinds, targets = (part.to(device) for part in batch)
            logits_BSP = network(points, kinds, targets)
            loss += len(points) * float(
                cross_entropy(logits_BSP.flatten(0, 1), targets.flatten(), ignore_index=NOTHING)
            )
            exact += int(((logits_BSP.argmax(dim=-1) == targets) | (targets == NOTHING)).all(dim=1).sum())
    return loss / count, exact / count


def make_batch(config: PointerNetworkConfig, instances: Instances) -> PointBatch:
    """Make a batch of instances of one size for a network of this configuration."""
    points_BP2 = torch.from_numpy(instances.points_CP2)
    kinds_BP = torch.full(points_BP2.shape[:2], POINT)
    points_BP2 = normalised(points_BP2, kinds_BP)
    ranks_BP = reading_keys(points_BP2, kinds_BP, config.order).argsort(dim=1).argsort(dim=1)
    answers_BS = canonical(config.task, points_BP2.numpy(), instances.answers_CL, ranks_BP.numpy())
    if config.stops:
        length_B1 = (answers_BS >= 0).sum(axis=1, keepdims=True)
        answers_BS = np.pad(np.where(answers_BS >= 0, answers_BS + 1, NOTHING), ((0, 0), (0, 1)))
        answers_BS[:, -1] = NOTHING
        np.put_along_axis(answers_BS, length_B1, 0, axis=1)
        points_BP2 = nn.functional.pad(points_BP2, (0, 0, 1, 0))
        kinds_BP = nn.functional.pad(kinds_BP, (1, 0), value=STOP)
    return PointBatch(points_BP2, kinds_BP, torch.from_numpy(answers_BS))
