"""Question answering over a story: facts and a question in, an answer out, with where the model looked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Annotated, ClassVar, Literal

import msgspec
import numpy as np
from msgspec import Meta

from server.contract.attention import Attention, Form, attend, floats, largest
from server.contract.bundle import Bundle
from server.contract.tensors import Array
from server.contract.text import UNKNOWN, UNKNOWN_ID, split_sentences
from server.errors import BundleError, InvalidRequest, RunError
from server.tasks.base import Prepared
from server.tasks.words import question_ids, story_ids, too_long, unknown_words, unknown_words_error

OUTPUTS = ("answer_probabilities", "hop_probabilities", "attention")


class QaRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A story and a question about it."""

    story: Annotated[
        list[str] | str, Meta(description="Sentences in order, or one text to be split into them.")
    ]
    question: str
    model: Annotated[
        str | None, Meta(description="`name` or `name:version`; without it the default model answers.")
    ] = None
    top_k: Annotated[
        int, Meta(ge=1, le=1000, description="How many alternatives to list, the answer included.")
    ] = 5
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
    timeout_ms: Annotated[float, Meta(gt=0, description="Answer within this time or not at all.")] | None = (
        None
    )


class ScoredAnswer(msgspec.Struct, frozen=True, gc=False):
    """An answer and its probability."""

    answer: str
    score: float


class Evidence(msgspec.Struct, frozen=True, gc=False):
    """A fact and its largest weight over the hops; ``index`` counts from the story's first sentence."""

    index: int
    text: str
    weight: float


class QaAnswer(msgspec.Struct, frozen=True):
    """The answer, and how the model came to it.

    ``alternatives`` lists the most probable answers, the given one first; ``hops`` what the model would have
    answered after each hop; ``evidence`` the facts with the largest weights.
    """

    answer: str
    score: float
    alternatives: list[ScoredAnswer]
    hops: list[ScoredAnswer]
    evidence: list[Evidence]
    attention: Attention | None = None
    warnings: list[str] = msgspec.field(default_factory=list)


class _Context(msgspec.Struct, frozen=True):
    """What ``interpret`` needs of a request: the facts the model read, and how the answer shall look."""

    request: QaRequest
    facts: list[str]
    offset: int
    warnings: list[str]


class QuestionAnswering:
    """The task ``qa``: story and question become token ids, probabilities and gates become an answer."""

    name: ClassVar[str] = "qa"
    Request: ClassVar[type[msgspec.Struct]] = QaRequest
    Answer: ClassVar[type[msgspec.Struct]] = QaAnswer

    def __init__(self, max_attention_weights: int = 100_000) -> None:
        self._max_attention_weights = max_attention_weights

    def selector(self, request: QaRequest) -> Mapping[str, str | int]:
        """Return no selector: one default model answers every question."""
        return {}

    def check(self, bundle: Bundle) -> None:
        """Make sure of the vocabulary, the limits, the tensors and the axes of the attention."""
        manifest = bundle.manifest
        if bundle.vocabulary is None:
            raise BundleError("task qa needs a tokenizer (manifest: tokenizer)")
        for limit in ("max_facts", "max_words", "max_question_words"):
            if manifest.limits.get(limit, 0) < 1:
                raise BundleError(f"task qa needs {limit} (manifest: limits)")
        dims = {spec.name: spec.dims for spec in (*manifest.signature.inputs, *manifest.signature.outputs)}
        expected = {
            "story_tokens": ("batch", "facts", "words"),
            "question_tokens": ("batch", "question_words"),
            "answer_probabilities": ("batch", len(manifest.answers)),
        }
        for name, axes in expected.items():
            if dims.get(name) != axes:
                raise BundleError(f"task qa needs {name} {list(axes)}, the manifest has {dims.get(name)}")
        attention = manifest.signature.attention
        if attention.output != "attention" or attention.axes != ("hop", "fact"):
            raise BundleError("task qa needs the output attention with the axes hop and fact")
        if not {"hop_probabilities", "attention"} <= dims.keys():
            raise BundleError("task qa needs the outputs hop_probabilities and attention")

    def prepare(self, request: QaRequest, bundle: Bundle) -> Prepared:
        """Make ``story_tokens [facts, words]`` and ``question_tokens [question_words]``."""
        assert bundle.vocabulary is not None
        limits, vocabulary = bundle.manifest.limits, bundle.vocabulary
        story = split_sentences(request.story) if isinstance(request.story, str) else request.story
        offset = _facts_to_drop(len(story), limits["max_facts"], request.truncate)
        facts = story[offset:]
        story_tokens = story_ids(facts, offset, limits["max_words"], vocabulary)
        question_tokens = question_ids(request.question, limits["max_question_words"], vocabulary)
        warnings = []
        if offset:
            warnings.append(
                f"story has {len(story)} facts, this model takes {limits['max_facts']} "
                f"(manifest: max_facts): the oldest {offset} were left out"
            )
        if (story_tokens == UNKNOWN_ID).any() or UNKNOWN_ID in question_tokens.tolist():
            unknown = unknown_words(facts, offset, request.question, vocabulary)
            if request.unknown_words == "error":
                raise unknown_words_error(unknown, vocabulary)
            warnings.append(f"not known to this model and read as {UNKNOWN}: {', '.join(unknown)}")
        arrays: dict[str, Array] = {"story_tokens": story_tokens, "question_tokens": question_tokens}
        return Prepared(arrays, OUTPUTS, _Context(request, facts, offset, warnings))

    def interpret(self, outputs: Mapping[str, Array], prepared: Prepared, bundle: Bundle) -> QaAnswer:
        """Turn ``answer_probabilities``, ``hop_probabilities`` and ``attention`` into the answer."""
        context: _Context = prepared.context
        request, answers = context.request, bundle.manifest.answers
        probabilities_A, hops_KA = outputs["answer_probabilities"], outputs["hop_probabilities"]
        gates_KF = outputs["attention"]
        gates_F = gates_KF.max(axis=0)
        likely = largest(probabilities_A, request.top_k)
        seen = largest(gates_F, request.attention_top_k)
        scores, hop_scores, weights = _numbers(probabilities_A[likely], hops_KA.max(axis=1), gates_F[seen])
        alternatives = _scored(likely, scores, answers)
        warnings = list(context.warnings)
        return QaAnswer(
            answer=alternatives[0].answer,
            score=alternatives[0].score,
            alternatives=alternatives,
            hops=_scored(hops_KA.argmax(axis=1).tolist(), hop_scores, answers),
            evidence=_evidence(seen, weights, context),
            attention=self._attention(gates_KF, context, bundle, warnings),
            warnings=warnings,
        )

    def _attention(
        self, gates_KF: Array, context: _Context, bundle: Bundle, warnings: list[str]
    ) -> Attention | None:
        form = context.request.attention
        if form == "none":
            return None
        if form == "full" and gates_KF.size > self._max_attention_weights:
            form = "top"
            warnings.append(
                f"attention has {gates_KF.size} weights, an answer carries {self._max_attention_weights} "
                "(ENGRAM_MAX_ATTENTION_WEIGHTS): only the largest of each hop are given"
            )
        labels = {"hop": _ordinals(len(gates_KF)), "fact": context.facts}
        spec, top_k = bundle.manifest.signature.attention, context.request.attention_top_k
        return attend(spec, gates_KF, labels, form=form, top_k=top_k, offset=context.offset)


def _facts_to_drop(count: int, limit: int, truncate: str) -> int:
    if count == 0:
        raise InvalidRequest("story has no sentences", fields=["story"])
    if count > limit and truncate == "none":
        raise too_long("facts", count, limit, "max_facts", "story")
    return max(0, count - limit)


@cache
def _ordinals(count: int) -> tuple[str, ...]:
    return tuple(str(place + 1) for place in range(count))


def _scored(places: list[int], scores: list[float], answers: Sequence[str]) -> list[ScoredAnswer]:
    return [ScoredAnswer(answers[place], score) for place, score in zip(places, scores, strict=True)]


def _evidence(places: list[int], weights: list[float], context: _Context) -> list[Evidence]:
    offset, facts = context.offset, context.facts
    return [
        Evidence(offset + place, facts[place], weight) for place, weight in zip(places, weights, strict=True)
    ]


def _numbers(*arrays: Array) -> list[list[float]]:
    """Return each array as a list; all are converted at once, for that has its price however few they are."""
    numbers: list[float] = floats(np.concatenate(arrays))
    if None in numbers:
        raise RunError("the graph returned something that is not a number")
    rest = iter(numbers)
    return [list(islice(rest, len(array))) for array in arrays]
