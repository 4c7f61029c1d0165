"""Writing word by word: the search that drives a language model, reading first and choosing then."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from server.contract.attention import Attention, Form, attend, largest
from server.contract.bundle import Bundle
from server.contract.manifest import NEXT, AttentionSpec
from server.contract.tensors import Array
from server.contract.text import PAD_ID, UNKNOWN_ID, Vocabulary
from server.errors import RunError
from server.tasks.completion_form import (
    SENTINEL,
    CompleteAnswer,
    CompleteRequest,
    WordChoice,
    WordEvent,
    WrittenWord,
)
from server.tasks.completion_state import Memory, pack
from server.tasks.joining import UNKNOWN_WORD, Joiner
from server.tasks.stepwise import Feed

SMALLEST = float(np.finfo(np.float32).tiny)
"""A probability that rounding took to zero counts as this much."""


@dataclass(frozen=True, slots=True)
class Begun:
    """What a search needs of a request: the words to read, what was read before them, and what to write.

    ``wanted`` counts the words to write; ``forced`` are these words, where they are given.
    """

    request: CompleteRequest
    memory: Memory
    ids: NDArray[np.int64]
    wanted: int
    forced: NDArray[np.int64] | None
    joiner: Joiner
    form: Form
    warnings: list[str]


@dataclass
class Writing:
    """One text on its way: what is still to be read, and what has been written (a ``Search``)."""

    context: Begun
    bundle: Bundle
    written: list[WrittenWord] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin with the whole text unread."""
        assert self.bundle.vocabulary is not None
        self._vocabulary: Vocabulary = self.bundle.vocabulary
        self._names = {PAD_ID: "", UNKNOWN_ID: UNKNOWN_WORD}
        self._chunk = self.bundle.manifest.limits["max_words"]
        self._window = self.bundle.manifest.limits["window"]
        self._rng = np.random.default_rng(self.context.request.seed)
        self._unread = self.context.ids
        self._seen = self.context.memory.arrays["window_words"].tolist()
        self._read = self.context.memory.read
        self._state: Mapping[str, Array] = {}

    @property
    def finished(self) -> bool:
        """Whether all words are written."""
        return len(self.written) == self.context.wanted

    def feed(self) -> Feed:
        """Return the next words to read: a chunk of the text, or the word just written."""
        return {"words": self._unread[: self._chunk][None]}, [0]

    def advance(self, outputs: Mapping[str, Array]) -> Sequence[msgspec.Struct]:
        """Note what was read; at the end of the text choose a word."""
        read = self._unread[: self._chunk]
        self._unread = self._unread[self._chunk :]
        self._seen = [*self._seen, *read.tolist()][-self._window :]
        self._read += len(read)
        if len(self._unread):
            return []
        word = self._choose(
            _floats(outputs["probabilities"][0]), _floats(outputs["attention"][0, len(read) - 1])
        )
        self.written.append(word)
        if self.finished:
            own = (name for name in outputs if name.startswith(NEXT))
            self._state = {name.removeprefix(NEXT): np.array(outputs[name][0]) for name in own}
        return [WordEvent(**msgspec.structs.asdict(word))]

    def answer(self) -> CompleteAnswer:
        """Return the completion."""
        logs = [math.log(max(word.probability, SMALLEST)) for word in self.written]
        return CompleteAnswer(
            text="".join(word.text for word in self.written),
            score=math.exp(sum(logs) / len(logs)),
            words=self.written,
            state=self._packed() if self.context.request.return_state else None,
            warnings=self.context.warnings,
        )

    def _packed(self) -> str:
        return pack(Memory(self._state, int(self._unread[0]), self._read), self.bundle)

    def _choose(self, probabilities_V: NDArray[np.float32], attention_L1: NDArray[np.float32]) -> WrittenWord:
        request = self.context.request
        allowed_V = probabilities_V.astype(np.float64)
        allowed_V[PAD_ID] = 0.0
        if not request.allow_unknown:
            allowed_V[UNKNOWN_ID] = 0.0
        best = [word for word in _largest(allowed_V, request.top_k) if allowed_V[word] > 0]
        chosen = self._next(allowed_V)
        self._unread = np.array([chosen], np.int64)
        choice = self._choice(chosen, probabilities_V, attention_L1)
        return WrittenWord(
            word=choice.word,
            text=self.context.joiner.add(choice.word),
            probability=choice.probability,
            from_pointer=choice.from_pointer,
            from_vocabulary=choice.from_vocabulary,
            sentinel_gate=float(attention_L1[-1]),
            alternatives=[self._choice(word, probabilities_V, attention_L1) for word in best],
            attention=self._attention(attention_L1),
        )

    def _next(self, allowed_V: NDArray[np.float64]) -> int:
        """Return the word to write: the given one, the most probable one, or one that is drawn."""
        if self.context.forced is not None:
            return int(self.context.forced[len(self.written)])
        if self.context.request.temperature == 0:
            return int(allowed_V.argmax())
        return drawn(allowed_V, self.context.request.temperature, self._rng)

    def _choice(
        self, word: int, probabilities_V: NDArray[np.float32], attention_L1: NDArray[np.float32]
    ) -> WordChoice:
        places = [place for place, seen in enumerate(self._seen) if seen == word]
        probability = float(probabilities_V[word])
        pointed = min(float(attention_L1[places].sum(dtype=np.float64)), probability)
        return WordChoice(self._word(word), probability, pointed, probability - pointed)

    def _attention(self, attention_L1: NDArray[np.float32]) -> Attention | None:
        """Return the weights over the words that the window holds, and the sentinel."""
        request, spec = self.context.request, self.bundle.manifest.signature.attention
        if self.context.form == "none":
            return None
        present = [place for place, word in enumerate(self._seen) if word != PAD_ID]
        labels = [*(self._word(self._seen[place]) for place in present), SENTINEL]
        row = AttentionSpec(output=spec.output, kind=spec.kind, axes=("window",), normalized_over="window")
        weights = attention_L1[[*present, len(attention_L1) - 1]]
        return attend(
            row,
            weights,
            {"window": labels},
            form=self.context.form,
            top_k=request.attention_top_k,
            offset=self._read - len(present),
        )

    def _word(self, word: int) -> str:
        return self._names.get(word) or self._vocabulary.words[word - len(self._names)]


def drawn(allowed_V: NDArray[np.float64], temperature: float, rng: np.random.Generator) -> int:
    """Draw a word: its odds are the model's, to the power of one through the temperature."""
    positive = np.flatnonzero(allowed_V > 0)
    logits = np.log(allowed_V[positive])
    with np.errstate(over="ignore"):  # odds that are nothing beside the best, at a very low temperature
        odds = np.exp((logits - logits.max()) / temperature)
    cumulated = np.cumsum(odds)
    place = int(np.searchsorted(cumulated, rng.random() * cumulated[-1], side="right"))
    return int(positive[min(place, len(positive) - 1)])


def _largest(values: NDArray[np.float64], k: int) -> list[int]:
    """Return the places of the ``k`` largest, the largest first, without sorting the whole vocabulary."""
    if not k:
        return []
    if k >= len(values):
        return largest(values, k)
    few = np.sort(np.argpartition(-values, k)[:k])
    return [int(few[place]) for place in largest(values[few], k)]


def _floats(values: Array) -> NDArray[np.float32]:
    numbers = values.astype(np.float32, copy=False)
    if not np.isfinite(numbers).all():
        raise RunError("the graph returned something that is not a number")
    return numbers
