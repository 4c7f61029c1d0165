"""How a task is learnt and measured: what ``python -m models`` needs to know about one.

A task brings a ``Learning``; ``models.learners`` lists them. Everything else about training is the same for
every task: presets, run folders, resuming, the loop (``models.training``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, Protocol

from rich.console import Console
from rich.table import Table

from models.checkpoint import Checkpoint
from models.recipe import Recipe
from models.training import TrainingOptions

Cell = str | int | float | None


@dataclass(frozen=True)
class DataChoice:
    """What a command line says about the data; an empty text leaves it to the preset or the checkpoint.

    ``source`` names a data set or a file, ``valid`` a validation file, ``tasks`` a part of the data (bAbI
    tasks, say), ``split`` is ``test`` or ``valid``.
    """

    source: str = ""
    valid: str = ""
    tasks: str = ""
    split: str = ""

    def __post_init__(self) -> None:
        """Refuse a split that no data has."""
        if self.split not in ("", "test", "valid"):
            raise ValueError(f"--split is test or valid, not {self.split!r}")


@dataclass(frozen=True)
class Plan:
    """Everything a training run needs, and what its checkpoint will say about where it comes from.

    ``options`` and ``selection`` are the fields of the tables ``[learning]`` and ``[data]``, ``records`` the
    data records of a manifest, ``notes`` what has to be said beside every result, and ``summary`` are lines
    for the terminal: how much data there is.
    """

    recipe: Recipe
    options: dict[str, Any]
    selection: dict[str, Any]
    records: tuple[dict[str, str], ...]
    notes: tuple[str, ...]
    summary: tuple[str, ...]


class Measured(Protocol):
    """A result: plain values for JSON, a table for people."""

    def plain(self) -> dict[str, Any]:
        """Return everything as JSON holds it, with what, when and how it was measured."""
        ...

    def show(self, console: Console) -> None:
        """Print the table and what has to be said about it."""
        ...


class Learning(Protocol):
    """How one task is learnt and measured.

    ``selection`` and ``options`` are the dataclasses of the tables ``[data]`` and ``[learning]`` of a preset;
    ``given`` names the fields of a network's configuration that the data decides.
    """

    selection: ClassVar[type]
    options: ClassVar[type]
    given: ClassVar[tuple[str, ...]]

    def plan(
        self,
        family: str,
        tables: dict[str, dict[str, Any]],
        choice: DataChoice,
        training: TrainingOptions,
    ) -> Plan:
        """Read the data and build the recipe.

        Args:
            family: the name of the family to train.
            tables: a preset: its tables by name.
            choice: what the command line says about the data.
            training: its seed and device matter here.

        Raises:
            OSError: a file is missing or could not be fetched.
            ValueError: an option or the data is not of the right form.
        """
        ...

    def measure(self, checkpoints: Mapping[str, Checkpoint], choice: DataChoice) -> Measured:
        """Measure checkpoints, by name, on data they were not trained on, by eager torch.

        Raises:
            OSError: a file is missing.
            ValueError: there is nothing to measure them on.
        """
        ...


@dataclass(frozen=True)
class ResultTable:
    """A result whose rows all have the same columns, the first of them a label."""

    title: str
    rows: list[dict[str, Cell]]
    notes: tuple[str, ...] = ()
    measured_by: str = "eager torch, CPU"
    decimals: int = 2
    extra: dict[str, Any] = field(default_factory=dict)
    """Further values for JSON, such as the settings of a search."""

    def plain(self) -> dict[str, Any]:
        """Return everything as JSON holds it."""
        return {
            "measured_on": self.title,
            "measured_by": self.measured_by,
            "date": datetime.now(UTC).date().isoformat(),
            "rows": self.rows,
            "notes": list(self.notes),
            **self.extra,
        }

    def show(self, console: Console) -> None:
        """Print the table and the notes."""
        table = Table(*(self.rows[0] if self.rows else ()), title=self.title)
        for row in self.rows:
            table.add_row(*(self._text(cell) for cell in row.values()))
        console.print(table)
        for note in self.notes:
            console.print(note)

    def _text(self, cell: Cell) -> str:
        match cell:
            case None:
                return ""
            case float():
                return f"{cell:,.{self.decimals}f}"
            case int():
                return f"{cell:,}"
            case _:
                return cell
