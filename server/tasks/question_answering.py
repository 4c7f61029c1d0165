"""Question answering over a story: facts and a question in, an answer out, with the facts the model looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import msgspec
import numpy as np
from msgspec import Meta

from server.contract.attention import Attention, Form, attend, floats, largest
from server.contract.bundle import Bundle
from server.contract.tensors import Array
from server.contract.text import UNKNOWN, UNKNOWN_ID, Vocabulary, split_sentences
from server.errors import BundleError, InputTooLong, InvalidRequest, RunError, UnknownWords
from server.tasks.base import Prepared

MAX_CHARACTERS = 1_000
"""Longest sentence that is looked at: it bounds the work done before a request is refused."""

SUGGESTIONS = 50
"""Unknown words that come with known words nearest to them; further ones are only listed."""

OUTPUTS = ("answer_probabilities", "hop_probabilities", "attention")


class QaRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A story and a question about it."""

    story: Annotated[list[str] | str, Meta(description="Sentences in order, or one text to be split into them.")]
    question: str
    model: Annotated[
        str | None, Meta(description="`name` or `name:version`; without it the default model answers.")
    ] = None
    top_k: Annotated[int, Meta(ge=1, le=1000, description="How many alternatives to list, the answer included.")] = 5
    truncate: Annotated[
        Literal["none", "oldest"],
        Meta(description="With too many facts: refuse the story, or leave out the oldest."),
    ] = "none"
    attention: Annotated[Form, Meta(description="Every weight, the largest of each hop, or none.")] = "full"
    attention_top_k: Annotated[
        int, Meta(ge=1, le=1000, description="How many facts `evidence`, and a hop in the form `top`, list.")
    ] = 5
    unknown_words: Annotated[
        Literal["error", "map"], Meta(description="Refuse unknown words, or read them as the unknown token.")
    ] = "error"
    timeout_ms: Annotated[float | None, Meta(gt=0, description="Answer within this time or not at all.")] = None


class ScoredAnswer(msgspec.Struct, frozen=True):
    """An answer and its probability."""

    answer: str
    score: float


class Evidence(msgspec.Struct, frozen=True):
    """A fact and its largest weight over the hops; ``index`` counts from the story's first sentence."""

    index: int
    text: str
    weight: float


class QaAnswer(msgspec.Struct, frozen=True):
    """The answer, and how the model came to it.

    ``alternatives`` lists the most probable answers, the given one first; ``hops`` what the model would have answered
    after each hop; ``evidence`` the facts with the largest weights.
    """

    answer: str
    score: float
    alternatives: list[ScoredAnswer]
    hops: list[ScoredAnswer]
    evidence: list[Evidence]
    attention: Attention | None = None
    warnings: list[str] = msgspec.field(default_factory=list)


class QuestionAnswering:
    """The task ``qa``."""

    name: ClassVar[str] = "qa"
    Request: ClassVar[type[msgspec.Struct]] = QaRequest
    Answer: ClassVar[type[msgspec.Struct]] = QaAnswer
