"""Where a model looked: named axes, their labels, and the weights as a numpy array made on first use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Axis:
    """One axis of the weights: its name (``hop``, ``fact``) and a label for each position."""

    name: str
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Attention:
    """Where a model looked while it made one answer.

    Attributes:
        kind: What the weights are: ``episodic_gate``, ``alignment``, ``memory_activity``, ``pointer``, …
        axes: The axes of ``weights``, in order.
        normalized_over: The axis whose entries sum to 1, or ``None``.
        offset: How many entries were dropped in front of the last axis (``truncate="oldest"``).
        raw: The payload as the server sent it.
    """

    kind: str
    axes: tuple[Axis, ...]
    normalized_over: str | None
    offset: int
    raw: Mapping[str, Any] = field(repr=False)

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Attention:
        """Read the ``attention`` of an answer."""
        axes = tuple(Axis(axis["name"], tuple(axis["labels"])) for axis in payload["axes"])
        return cls(
            kind=payload["kind"],
            axes=axes,
            normalized_over=payload.get("normalized_over"),
            offset=payload.get("offset", 0),
            raw=payload,
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        return tuple(len(axis) for axis in self.axes)

    @property
    def top(self) -> Sequence[Any] | None:
        """For each row its largest weights as ``[index, weight]``, or ``None`` when all were sent."""
        rows: Sequence[Any] = self.raw["weights"]
        return rows if _depth(rows) > len(self.axes) else None

    @cached_property
    def weights(self) -> NDArray[np.float32]:
        """The weights, float32 of shape ``shape``, read-only; ``nan`` where the server sent only top rows."""
        if self.top is None:
            weights = np.asarray(self.raw["weights"], dtype=np.float32).reshape(self.shape)
        else:
            weights = np.full(self.shape, np.nan, dtype=np.float32)
            for row in np.ndindex(self.shape[:-1]):
                for index, weight in _at(self.top, row):
                    weights[(*row, index)] = weight
        weights.flags.writeable = False
        return weights

    def axis(self, name: str) -> Axis:
        """Return the axis of that name.

        Raises:
            KeyError: There is no such axis.
        """
        for axis in self.axes:
            if axis.name == name:
                return axis
        raise KeyError(f"no axis {name!r}; this attention has {', '.join(axis.name for axis in self.axes)}")

    def __str__(self) -> str:
        shape = " by ".join(f"{len(axis)} {axis.name}" for axis in self.axes)
        head = f"{self.kind} ({shape})"
        return "\n".join([head, *self._table()]) if len(self.axes) == 2 else head

    def _table(self) -> list[str]:
        """One line per position of the last axis, with its weight for each position of the first."""
        first, last = self.axes
        titles = [f"{first.name} {label}" for label in first.labels]
        lines = ["  ".join(f"{title:>6}" for title in titles)]
        for number, label in enumerate(last.labels):
            cells = (
                f"{weight:>{max(6, len(title))}.3f}"
                for title, weight in zip(titles, self.weights[:, number], strict=True)
            )
            lines.append("  ".join([*cells, label]))
        return lines


def _depth(rows: Any) -> int:
    """Count how deep lists are nested."""
    return 1 + _depth(rows[0]) if isinstance(rows, list) and rows else int(isinstance(rows, list))


def _at(rows: Sequence[Any], index: tuple[int, ...]) -> Any:
    """Follow an index into nested lists."""
    for position in index:
        rows = rows[position]
    return rows
