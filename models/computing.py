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
from models.diagonal_neural_gpu import Computed, DiagonalNeuralGPUConfig
from models.families import FAMILIES, build
from models.learning import Cell, DataChoice, Plan, ResultTable
from models.presets import options_from
from models.recipe import Evaluation
from models.training import TrainingOptions
from server.tasks.computing import OPERANDS, Operation

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
    sizes at once, no curriculum); ``batches_an_epoch`` of them are an epoch. ``saturation_cost`` weighs what
    gate logits beyond their limit cost. Validation is on ``longer`` cells as well: it is longer problems that
    tell whether an algorithm has been learnt. ``serve_max_cells`` is the limit a bundle will state.
    """

    cells: tuple[int, ...] = (5, 7, 11, 15, 19, 25, 29, 35, 41)
    each: int = 16
    batches_an_epoch: int = 100
    saturation_cost: float = 1e-3
    longer: tuple[int, ...] = (81, 161)
    valid_each: int = 32
    serve_max_cells: int = 4096


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
        self.config: DiagonalNeuralGPUConfig = options_from(
            FAMILIES[self.family].config, "network", self.shape, symbols=self.data.base + 3
        )

    def network(self) -> nn.Module:
        """Build the network."""
        return FAMILIES[self.family].network(self.config)

    def batches(self, epoch: int, epochs: int, rng: np.random.Generator) -> tuple[int, Iterable[list[Cells]]]:
        """Generate fresh problems; each batch has all sizes."""
        return self.options.batches_an_epoch * self._problems, self._drawn(rng)

    @property
    def _problems(self) -> int:
        return len(self.options.cells) * self.options.each

    def _drawn(self, rng: np.random.Generator) -> Iterator[list[Cells]]:
        options = self.options
        problems = stream(self.operation, self.data.base, options.cells, options.each, rng)
        for _ in range(options.batches_an_epoch):
            yield [self._encoded(next(problems)) for _ in options.cells]

    def _encoded(self, problems: Sequence[Problem]) -> Cells:
        symbols_BC, targets_BC = encode(problems)
        return Cells(
            torch.from_numpy(symbols_BC).to(self.device), torch.from_numpy(targets_BC).to(self.device)
        )

    def loss(self, network: nn.Module, batch: list[Cells]) -> tuple[Tensor, int]:
        """Return the mean over the sizes of the cross-entropy of all cells and the cost of saturation."""
        losses = []
        for part in batch:
            computed: Computed = network(part.symbols_BC)
            entropy = cross_entropy(
                computed.logits_BCV.flatten(0, 1), part.targets_BC.flatten(), ignore_index=IGNORED
            )
            losses.append(entropy + self.options.saturation_cost * computed.saturation)
        return torch.stack(losses).mean(), self._problems

    def evaluate(self, network: nn.Module) -> Evaluation:
        """Measure loss and wrong results on the longest training size and the longer ones."""
        network.eval()
        losses, groups = [], {}
        with torch.inference_mode():
            for cells in (max(self.options.cells), *self.options.longer):
                digits = operand_digits(self.operation, cells)
                rng = np.random.default_rng([77, cells])
                problems = [
                    problem(self.operation, self.data.base, digits, rng)
                    for _ in range(self.options.valid_each)
                ]
                part = self._encoded(problems)
                logits_BCV = network(part.symbols_BC).logits_BCV
                losses.append(
                    float(
                        cross_entropy(
                            logits_BCV.flatten(0, 1), part.targets_BC.flatten(), ignore_index=IGNORED
                        )
                    )
                )
                wrong_B = wrong_rows(logits_BCV, part.targets_BC)
                groups[f"{digits} digits"] = 100 * float(wrong_B.float().mean())
        return Evaluation(
            loss=float(np.mean(losses)), error=float(np.mean(list(groups.values()))), groups=groups
        )

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


def wrong_rows(logits_BCV: Tensor, targets_BC: Tensor) -> Tensor:
    """Say for each row whether any cell that counts is wrong."""
    counts_BC = targets_BC != IGNORED
    wrong_B: Tensor = ((logits_BCV.argmax(dim=-1) != targets_BC) & counts_BC).any(dim=1)
    return wrong_B


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
                wrong_B = wrong_rows(network(symbols_BC).logits_BCV, targets_BC)
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
