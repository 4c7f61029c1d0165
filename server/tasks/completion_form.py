"""What is asked of a language model and what it answers: the forms of the task ``complete``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from server.contract.attention import Attention, Axis, Form

SENTINEL = "<sentinel>"
"""The last label of a window: what lies there is left to the vocabulary."""


class CompleteRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text to be continued."""

    text: Annotated[str, Meta(description="What has been written so far; with `state`, only what is new.")]
    model: Annotated[
        str | None, Meta(description="`name` or `name:version`; without it the default model answers.")
    ] = None
    max_words: Annotated[int, Meta(ge=1, le=1000, description="How many words to write.")] = 10
    then: Annotated[
        str | None,
        Meta(
            description="Text that does come next: instead of words of its own, the model says how probable "
            "each of these is. `max_words` says nothing then."
        ),
    ] = None
    top_k: Annotated[
        int, Meta(ge=0, le=100, description="How many of the most probable words to list at each place.")
    ] = 5
    temperature: Annotated[
        float,
        Meta(ge=0, le=10, description="0 writes the most probable word; 1 draws from the model's own odds."),
    ] = 0.0
    seed: Annotated[int, Meta(ge=0, le=2**53, description="The same seed draws the same words.")] = 0
    state: Annotated[str | None, Meta(description="The `state` of the answer to go on from.")] = None
    return_state: Annotated[
        bool, Meta(description="Whether the answer carries what is needed to go on from its end.")
    ] = True
    allow_unknown: Annotated[
        bool, Meta(description="Whether the unknown word, `<unk>`, may be written and listed.")
    ] = False
    attention: Annotated[Form, Meta(description="Every weight, the largest of each word, or none.")] = "full"
    attention_top_k: Annotated[
        int, Meta(ge=1, le=1000, description="How many places of the window the form `top` keeps.")
    ] = 5
    unknown_words: Annotated[
        Literal["error", "map"],
        Meta(description="Refuse unknown words, or read them as the unknown word, with a warning."),
    ] = "map"
    timeout_ms: Annotated[float, Meta(gt=0, description="Answer within this time or not at all.")] | None = (
        None
    )


class WordChoice(msgspec.Struct, frozen=True):
    """A word that could come next: its probability is the sum of both ways to it."""

    word: str
    probability: float
    from_pointer: float
    from_vocabulary: float


class WrittenWord(msgspec.Struct, frozen=True):
    """One word of a completion.

    ``text`` is what it adds to the text, ``sentinel_gate`` the share of the prediction that the pointer left
    to the vocabulary, ``alternatives`` the most probable words at its place, and ``attention`` where in the
    window the pointer looked.
    """

    word: str
    text: str
    probability: float
    from_pointer: float
    from_vocabulary: float
    sentinel_gate: float
    alternatives: list[WordChoice]
    attention: Attention | None = None


class WordEvent(WrittenWord, frozen=True, tag="word", tag_field="event"):
    """A word that has just been written."""


class CompleteAnswer(msgspec.Struct, frozen=True):
    """A completion: its words one by one, and as the text that follows the given one.

    ``score`` is the geometric mean of the words' probabilities.
    """

    text: str
    score: float
    words: list[WrittenWord]
    state: str | None = None
    warnings: list[str] = msgspec.field(default_factory=list)

    @property
    def answer(self) -> str:
        """Return the completion as a headline."""
        return self.text.strip()

    @property
    def attention(self) -> Attention:
        """Return one matrix for a picture: each written word over all places that any of them could see."""
        return joined(self.words)


def joined(words: Sequence[WrittenWord]) -> Attention:
    """Lay the attention of several words side by side: word by place, from the first place any could see.

    A place that a word could not see has the weight 0; the sentinel is the last column.
    """
    parts = [(word.word, word.attention) for word in words if word.attention is not None]
    start = min(attention.offset for _, attention in parts)
    labels: dict[int, str] = {}
    for _, attention in parts:
        labels |= dict(enumerate(attention.axes[0].labels[:-1], attention.offset))
    weights = np.zeros((len(parts), len(labels) + 1), np.float32)
    for row, (_, attention) in zip(weights, parts, strict=True):
        own = _dense(attention)
        row[attention.offset - start : attention.offset - start + len(own) - 1] = own[:-1]
        row[-1] = own[-1]
    axes = [Axis("word", [word for word, _ in parts]), Axis("window", [*labels.values(), SENTINEL])]
    return Attention(parts[0][1].kind, "window", axes, weights, start)


def _dense(attention: Attention) -> NDArray[np.float32]:
    if isinstance(attention.weights, np.ndarray):
        return attention.weights
    dense = np.zeros(len(attention.axes[0].labels), np.float32)
    for place, weight in attention.weights:
        dense[place] = weight
    return dense
