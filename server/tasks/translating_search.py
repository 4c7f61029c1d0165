"""Greedy and beam search through a translation network's step graph.

The rules are those of ``models.translator``, so both find the same translation: hypotheses grow by their best
pieces until as many have ended as are kept, or the limit is reached.

Legend: R rows (open hypotheses), S source tokens, V target vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from server.contract.subwords import END_ID, START_ID
from server.contract.tensors import Array
from server.errors import RunError
from server.tasks.stepwise import Feed

Row = NDArray[np.float32]

NEAR = 10.0
"""Continuations whose log-probability is that near to the best are looked at first: they are few and nearly
always enough, and all of them are many."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A translation so far: pieces without the end, the log-probability of each and of all together.

    ``rows`` says for each piece where the network looked, where that is wanted; ``last`` is the
    log-probability of the end, once it is there.
    """

    pieces: tuple[int, ...] = ()
    scores: tuple[float, ...] = ()
    total: float = 0.0
    rows: tuple[Row, ...] = ()
    ended: bool = False

    @property
    def length(self) -> int:
        """Return the number of pieces, the end included."""
        return max(1, len(self.pieces) + self.ended)


@dataclass(frozen=True, slots=True)
class Aim:
    """What is looked for: so many hypotheses at a time, of at most so many pieces, compared by this power."""

    beam: int
    most: int
    length_power: float

    def value(self, found: Hypothesis) -> float:
        """Return what a finished hypothesis is compared by."""
        return found.total / float(found.length**self.length_power)


class TranslatingSearch:
    """The walk of one sentence (a ``server.tasks.stepwise.Search``).

    ``word`` makes the answer of the best hypothesis. ``tell`` makes the event of a place in a hypothesis; it
    is asked for each piece once, as soon as all hypotheses share it.
    """

    def __init__(
        self,
        aim: Aim,
        word: Callable[[Hypothesis], msgspec.Struct],
        tell: Callable[[Hypothesis, int], msgspec.Struct] | None = None,
    ) -> None:
        self._aim = aim
        self._word = word
        self._tell = tell
        self._told = 0
        self._open = [Hypothesis()]
        self._parents = [0]
        self._ended: list[Hypothesis] = []
        self._steps = 0
        self._finished = False

    @property
    def finished(self) -> bool:
        """Whether as many hypotheses have ended as are kept, or the limit is reached."""
        return self._finished

    def feed(self) -> Feed:
        """Return the last piece of each open hypothesis, and which row it continues."""
        last = [one.pieces[-1] if one.pieces else START_ID for one in self._open]
        return {"previous_token": np.array(last, np.int64)}, self._parents

    def advance(self, outputs: Mapping[str, Array]) -> Sequence[msgspec.Struct]:
        """Take the log-probabilities of each open hypothesis and go on with the best pieces."""
        scores_RV: NDArray[np.float32] = np.asarray(outputs["log_probabilities"], np.float32)
        attention_RS = outputs.get("attention")
        at_the_limit = self._steps == self._aim.most
        self._steps += 1
        going_on: list[Hypothesis] = []
        parents: list[int] = []
        for rank, (row, piece, total) in enumerate(self._best(scores_RV)):
            one = self._open[row]
            if piece == END_ID:
                if rank < self._aim.beam:
                    self._ended.append(Hypothesis(one.pieces, one.scores, total, one.rows, ended=True))
            elif len(going_on) < self._aim.beam and not at_the_limit:
                rows = one.rows if attention_RS is None else (*one.rows, attention_RS[row].copy())
                scores = (*one.scores, float(scores_RV[row, piece]))
                going_on.append(Hypothesis((*one.pieces, piece), scores, total, rows))
                parents.append(row)
        if len(self._ended) >= self._aim.beam or at_the_limit:
            self._finished = True
        else:
            self._open, self._parents = going_on, parents
        return self._news()

    def answer(self) -> msgspec.Struct:
        """Return the answer that the best finished hypothesis, or the best unfinished one, becomes."""
        return self._word(self._found())

    def _found(self) -> Hypothesis:
        return max(self._ended, key=self._aim.value) if self._ended else self._open[0]

    def _best(self, scores_RV: NDArray[np.float32]) -> list[tuple[int, int, float]]:
        """Return row, piece and total log-probability of the best continuations, the best first.

        There are two for each hypothesis that is kept: at most half of them can be ends.
        """
        if self._aim.beam == 1:
            piece = int(scores_RV[0].argmax())
            return [(0, piece, self._checked(self._open[0].total + float(scores_RV[0, piece])))]
        totals_RV = np.array([one.total for one in self._open], np.float32)[:, None] + scores_RV
        flat = totals_RV.ravel()
        best = self._checked(float(flat.max()))
        count = min(2 * self._aim.beam, flat.size)
        places = np.flatnonzero(flat >= best - NEAR)
        if len(places) < count:
            places = np.arange(flat.size)
        places = places[np.argpartition(-flat[places], count - 1)[:count]]
        places = places[np.lexsort((places, -flat[places]))]
        rows, pieces = np.divmod(places, scores_RV.shape[1])
        return list(zip(rows.tolist(), pieces.tolist(), flat[places].tolist(), strict=True))

    def _checked(self, total: float) -> float:
        if not np.isfinite(total):
            raise RunError("the graph returned something that is not a number")
        return total

    def _news(self) -> Sequence[msgspec.Struct]:
        """Tell the pieces that every hypothesis shares by now, or all of them once one is found."""
        if self._tell is None:
            return ()
        found = self._found()
        shared = len(found.pieces)
        if not self._finished:
            for other in (*self._open, *self._ended):
                same = zip(found.pieces[self._told : shared], other.pieces[self._told :], strict=False)
                shared = self._told + next(
                    (place for place, (own, its) in enumerate(same) if own != its),
                    max(0, min(shared, len(other.pieces)) - self._told),
                )
        events = [self._tell(found, place) for place in range(self._told, shared)]
        self._told = max(self._told, shared)
        return events
