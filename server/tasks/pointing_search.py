"""Beam search through a pointer network's step graph.

Several partial answers are followed at a time, the most probable ones that their constraint allows.
``server.tasks.pointing`` begins a search for each request and words its result.

Legend: R rows (partial answers), E elements (points, behind a stop where an answer has no fixed length).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from server.contract.tensors import Array
from server.errors import RunError
from server.tasks.constraints import STOP, Constraint
from server.tasks.stepwise import Feed

START = -1
"""What the first step takes in place of a choice."""


@dataclass(frozen=True)
class Path:
    """A partial or complete answer: the elements chosen, their log-probability, and the attention rows."""

    choices: tuple[int, ...]
    log_probability: float
    constraint: Constraint
    rows: tuple[NDArray[np.float32], ...] = ()
    complete: bool = False


@dataclass(frozen=True)
class Aim:
    """When an answer is complete, and which of the complete ones is best.

    ``most_steps`` is the length of the longest; with ``stops``, choosing the stop ends an answer, and only
    a complete answer may be given. ``cost`` prefers small values; without one the most probable is best.
    """

    most_steps: int
    stops: bool
    cost: Callable[[Path], float] | None = None


class PointingSearch:
    """The walk of one request (a ``server.tasks.stepwise.Search``)."""

    def __init__(
        self, aim: Aim, constraint: Constraint, beam: int, word: Callable[[Path], msgspec.Struct]
    ) -> None:
        self._aim = aim
        self._beam = beam
        self._word = word
        self._open = [Path((), 0.0, constraint)]
        self._parents = [0]
        self._complete: list[Path] = []
        self._longest = self._open[0]

    @property
    def finished(self) -> bool:
        """Whether no open path can become a better answer."""
        return not self._open

    def feed(self) -> Feed:
        """Return the last choice of each open path, and which row it continues."""
        last = [path.choices[-1] if path.choices else START for path in self._open]
        return {"choice": np.array(last, np.int64)}, self._parents

    def advance(self, outputs: Mapping[str, Array]) -> Sequence[msgspec.Struct]:
        """Take the attention of each open path and go on with the best choices."""
        attention_RE: NDArray[np.float32] = np.array(outputs["attention"], np.float32)
        if not np.isfinite(attention_RE).all():
            raise RunError("the graph returned something that is not a number")
        allowed_RE = np.stack([path.constraint.allowed() for path in self._open]) & (attention_RE > 0)
        with np.errstate(divide="ignore"):
            scores_RE = np.where(allowed_RE, np.log(attention_RE), -np.inf)
        scores_RE = scores_RE + np.array([path.log_probability for path in self._open])[:, None]
        best = np.argsort(-scores_RE, axis=None, kind="stable")[: self._beam]
        going_on: list[Path] = []
        parents: list[int] = []
        for row, element in zip(*np.unravel_index(best, scores_RE.shape), strict=True):
            if scores_RE[row, element] == -np.inf:
                break
            path = self._longer(self._open[row], int(element), scores_RE[row, element], attention_RE[row])
            if path.complete:
                self._complete.append(path)
            else:
                going_on.append(path)
                parents.append(int(row))
        self._longest = going_on[0] if going_on else self._longest
        self._open, self._parents = self._worth_following(going_on), parents
        self._parents = self._parents[: len(self._open)]
        return ()

    def answer(self) -> msgspec.Struct:
        """Return the best complete answer; without one, the longest that was followed."""
        if not self._complete:
            return self._word(self._longest)
        cost = self._aim.cost or (lambda path: -path.log_probability)
        return self._word(min(self._complete, key=cost))

    def _longer(self, path: Path, element: int, score: float, row_E: NDArray[np.float32]) -> Path:
        stopped = self._aim.stops and element == STOP
        choices = (*path.choices, element)
        return Path(
            choices,
            float(score),
            path.constraint if stopped else path.constraint.follow(element),
            (*path.rows, row_E),
            stopped or len(choices) >= self._aim.most_steps,
        )

    def _worth_following(self, paths: list[Path]) -> list[Path]:
        """Drop paths that cannot win any more: a longer path is never more probable."""
        if self._aim.cost is not None or not self._complete:
            return paths
        bar = max(path.log_probability for path in self._complete)
        return [path for path in paths if path.log_probability > bar]
