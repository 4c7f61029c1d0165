"""How computing families learn: short problems in every batch, judged by longer ones.

Used for every family whose task is ``compute``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from models.checkpoint import Checkpoint
from models.data.arithmetic import Problem, encode, kinds, operand_digits, problem, stream
from models.diagonal_neural_gpu import Computed, DiagonalNeuralGPU, DiagonalNeuralGPUConfig
from models.families import FAMILIES, build
from models.fast_steps import check_maps
from models.learning import Cell, DataChoice, Plan, ResultTable
from models.presets import options_from
from models.recipe import Evaluation
from models.training import TrainingOptions
from server.tasks.computing import OPERANDS, Operation, alphabet

IGNORED = -1
"""The target of a cell outside a request."""

GENERATED = {"name": "generated problems", "licence": "Apache-2.0", "source": "models.data.arithmetic"}


@dataclass(frozen=True)
class Problems:
    """What is computed: the operation, and the base of the digits (2 or 10)."""

    operation: str = "add"
    base: int = 2

    def __post_init__(self) -> None:
        """Refuse what nobody generates."""
        if self.operation not in OPERANDS:
            raise ValueError(f"data.operation is one of {', '.join(OPERANDS)}, not {self.operation!r}")
        if self.base not in (2, 10):
            raise ValueError(f"data.base is 2 or 10, not {self.base}")


@dataclass(frozen=True)
class ComputingOptions:
    """What is learnt from, and how.

    Every batch has ``each`` problems of every size in ``cells`` (Freivalds and Liepins 2017, section 4: all
    sizes at once), where an entry stands for the sizes above the one before; ``batches_an_epoch`` of them
    are an epoch. A share of ``structured`` problems is not random: long carries, highest digits, equal
    operands. The first ``first_epochs`` leave out entries above ``first_cells``, which costs a quarter and
    teaches as much, and have the share ``first_structured``. What logits beyond their limit cost is weighed
    so that it is ``saturation_share`` of the loss, at most ``saturation_cost`` times the excess. Validation
    is on ``longer`` cells as well: it is longer problems that tell whether an algorithm has been learnt.
    ``fast`` takes the training steps of a CPU in C++. ``serve_max_cells`` is the limit a bundle will state.
    """

    cells: tuple[int, ...] = (5, 7, 11, 15, 19, 25, 29, 35, 41)
    each: int = 16
    batches_an_epoch: int = 100
    first_epochs: int = 0
    first_cells: int = 25
    first_structured: float = 0.0
    structured: float = 0.0
    saturation_cost: float = 1e-3
    saturation_share: float = 1e-2
    longer: tuple[int, ...] = (81, 161)
    valid_each: int = 32
    fast: bool = False
    serve_max_cells: int = 4096

    def __post_init__(self) -> None:
        """Refuse sizes that have no order."""
        if not self.cells or list(self.cells) != sorted(set(self.cells)):
            raise ValueError(f"learning.cells must ascend, got {list(self.cells)}")
        if self.first_epochs and self.first_cells < self.cells[0]:
            raise ValueError(f"learning.first_cells must be at least {self.cells[0]}, got {self.first_cells}")
        for name in ("first_structured", "structured"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"learning.{name} is a share, from 0 to 1, not {getattr(self, name)}")


class Cells(NamedTuple):
    """Problems of one size: ``symbols_BC``, and the ``targets_BC`` (-1 where nothing is asked)."""

    symbols_BC: Tensor
    targets_BC: Tensor


@dataclass
class ComputingRecipe:
    """Training of a computing network on generated problems (a ``models.recipe.Recipe``)."""

    family: str
    data: Problems
    options: ComputingOptions
    shape: dict[str, Any]
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Read the shape of the network.

        Raises:
            ValueError: a field of ``shape`` is wrong.
        """
        self.operation = cast(Operation, self.data.operation)
        symbols = alphabet(self.operation, self.data.base)
        self.config: DiagonalNeuralGPUConfig = options_from(
            FAMILIES[self.family].config, "network", self.shape, symbols=symbols
        )
        if self.options.fast:
            check_fast(self.config.maps, self.device)

    def network(self) -> nn.Module:
        """Build the network."""
        network = FAMILIES[self.family].network(self.config)
        assert isinstance(network, DiagonalNeuralGPU)
        network.step.fast = self.options.fast
        return network

    def batches(self, epoch: int, epochs: int, rng: np.random.Generator) -> tuple[int, Iterable[list[Cells]]]:
        """Generate fresh problems; each batch has all sizes of its epoch."""
        options = self.options
        first = epoch < options.first_epochs
        most = options.first_cells if first else max(options.cells)
        cells = [size for size in options.cells if size <= most]
        structured = options.first_structured if first else options.structured
        count = options.batches_an_epoch * len(cells) * options.each
        return count, self._drawn(cells, structured, rng)

    def _drawn(self, cells: list[int], structured: float, rng: np.random.Generator) -> Iterator[list[Cells]]:
        options = self.options
        problems = stream(self.operation, self.data.base, cells, options.each, rng, structured=structured)
        for _ in range(options.batches_an_epoch):
            yield [self._encoded(next(problems)) for _ in cells]

    def _encoded(self, problems: Sequence[Problem]) -> Cells:
        symbols_BC, targets_BC = encode(problems)
        return Cells(
            torch.from_numpy(symbols_BC).to(self.device), torch.from_numpy(targets_BC).to(self.device)
        )

    def loss(self, network: nn.Module, batch: list[Cells]) -> tuple[Tensor, int]:
        """Return the mean over the sizes of the cross-entropy of all cells and the cost of saturation."""
        entropies, excesses = [], []
        for part in batch:
            computed: Computed = network(part.symbols_BC)
            entropies.append(_entropy(computed.logits_BCV, part.targets_BC))
            excesses.append(computed.saturation)
        entropy, excess = torch.stack(entropies).mean(), torch.stack(excesses).mean()
        share = self.options.saturation_share * float(entropy.detach()) / max(float(excess.detach()), 1e-9)
        return entropy + min(self.options.saturation_cost, share) * excess, len(batch) * self.options.each

    def evaluate(self, network: nn.Module) -> Evaluation:
        """Measure wrong results on the longest training size and the longer ones, of every kind.

        ``loss`` is the share of wrong cells, plus a thousandth of the cross-entropy where that is the same:
        long before long problems are right, the entropy of wrong cells grows while their number falls.
        """
        network.eval()
        losses, groups = [], {}
        with torch.inference_mode():
            for cells in (max(self.options.cells), *self.options.longer):
                digits = operand_digits(self.operation, cells)
                rng = np.random.default_rng([77, cells])
                all_kinds = kinds(self.operation)
                problems = [
                    problem(self.operation, self.data.base, digits, rng, all_kinds[place % len(all_kinds)])
                    for place in range(self.options.valid_each)
                ]
                part = self._encoded(problems)
                logits_BCV = network(part.symbols_BC).logits_BCV
                wrong_BC = wrong_cells(logits_BCV, part.targets_BC)
                entropy = _entropy(logits_BCV, part.targets_BC)
                losses.append(float(wrong_BC.float().mean()) + 1e-3 * float(entropy))
                groups[f"{digits} digits"] = 100 * float(wrong_BC.any(dim=1).float().mean())
        return Evaluation(float(np.mean(losses)), float(np.mean(list(groups.values()))), groups)

    def checkpoint(self, network: nn.Module, training: dict[str, Any], metrics: dict[str, Any]) -> Checkpoint:
        """Describe the trained network."""
        return Checkpoint(
            family=self.family,
            config=asdict(self.config),
            weights=network.state_dict(),
            words=[],
            answers=[],
            limits={"max_cells": self.options.serve_max_cells},
            selector={"operation": self.data.operation, "base": self.data.base},
            training=training,
            metrics=metrics,
        )

    def state(self) -> dict[str, Any]:
        """Return nothing: problems follow from the seed and the epoch."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back nothing."""


def check_fast(maps: int, device: str) -> None:
    """Make sure that training steps can be taken in C++.

    Raises:
        ValueError: not on this device, on this machine, or not with so many maps.
    """
    if device != "cpu":
        raise ValueError(f"learning.fast is for CPUs, training.device is {device}")
    check_maps(maps)


def wrong_cells(logits_BCV: Tensor, targets_BC: Tensor) -> Tensor:
    """Say for each cell whether it counts and is wrong."""
    return (logits_BCV.argmax(dim=-1) != targets_BC) & (targets_BC != IGNORED)


def _entropy(logits_BCV: Tensor, targets_BC: Tensor) -> Tensor:
    return cross_entropy(logits_BCV.flatten(0, 1), targets_BC.flatten(), ignore_index=IGNORED)


class ComputingLearning:
    """Learning to compute (a ``models.learning.Learning``)."""

    selection: ClassVar[type] = Problems
    options: ClassVar[type] = ComputingOptions
    given: ClassVar[tuple[str, ...]] = ("symbols",)

    def plan(
        self, family: str, tables: dict[str, dict[str, Any]], choice: DataChoice, training: TrainingOptions
    ) -> Plan:
        """Build the recipe; ``--data add`` names another operation, ``--tasks 10`` another base."""
        chosen: dict[str, Any] = {"operation": choice.source} if choice.source else {}
        if choice.tasks:
            chosen["base"] = int(choice.tasks) if choice.tasks.isdecimal() else choice.tasks
        data = options_from(Problems, "data", tables["data"] | chosen)
        learning = options_from(ComputingOptions, "learning", tables["learning"])
        recipe = ComputingRecipe(family, data, learning, tables["network"], training.device)
        longest = operand_digits(recipe.operation, max(learning.cells))
        summary = f"{data.operation} in base {data.base}, operands of up to {longest} digits"
        return Plan(recipe, asdict(learning), asdict(data), (GENERATED,), (), (summary,))

    def measure(self, checkpoints: Mapping[str, Checkpoint], choice: DataChoice) -> ResultTable:
        """Measure wrong results in percent by eager torch, at the trained length and ten times longer."""
        rows: list[dict[str, Cell]] = []
        for name, checkpoint in checkpoints.items():
            rows += _measured(name, checkpoint)
        return ResultTable("generated problems, wrong results in percent", rows)


def _measured(name: str, checkpoint: Checkpoint) -> list[dict[str, Cell]]:
    network = build(checkpoint)
    data = Problems(**checkpoint.training["selection"])
    operation = cast(Operation, data.operation)
    longest = max(checkpoint.training["options"]["cells"])
    rows: list[dict[str, Cell]] = []
    for times, count in ((1, 200), (10, 20)):
        digits = operand_digits(operation, longest) * times
        for kind in kinds(operation):
            rng = np.random.default_rng([99, digits])
            problems = [problem(operation, data.base, digits, rng, kind) for _ in range(count)]
            symbols_BC, targets_BC = map(torch.from_numpy, encode(problems))
            with torch.inference_mode():
                wrong_B = wrong_cells(network(symbols_BC).logits_BCV, targets_BC).any(dim=1)
            rows.append(
                {
                    "checkpoint": name,
                    "kind": kind,
                    "digits": digits,
                    "problems": count,
                    "wrong %": 100 * float(wrong_B.float().mean()),
                }
            )
    return rows
