"""Reading: a document and a question in, a word of the document out, with every place where it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import msgspec
import numpy as np
from msgspec import Meta

from server.contract.attention import Attention, Form, attend, floats
from server.contract.bundle import Bundle
from server.contract.tensors import Array
from server.contract.text import Vocabulary
from server.errors import BundleError, InvalidRequest, RunError
from server.tasks.base import Prepared
from server.tasks.passages import PLACEHOLDER, Passage, Slots, check_length, number_candidates, read_passage
from server.tasks.words import unknown_words_error

PROBABILITIES = "candidate_probabilities"
LIMITS = ("max_tokens", "max_question_tokens", "max_candidates", "slots")


class ReadRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A document and a question about it."""

    document: Annotated[str, Meta(description="Running text.")]
    question: Annotated[
        str, Meta(description="A sentence with `@placeholder` where a word is missing, or a plain question.")
    ]
    candidates: Annotated[
        list[str] | None,
        Meta(description="What the answer may be, words or phrases; without it, any word of the document."),
    ] = None
    model: Annotated[
        str | None, Meta(description="`name` or `name:version`; without it the default model answers.")
    ] = None
    top_k: Annotated[
        int, Meta(ge=1, le=1000, description="How many words to list where no candidates were given.")
    ] = 10
    attention: Annotated[Form, Meta(description="Every weight, the largest, or none.")] = "full"
    attention_top_k: Annotated[
        int, Meta(ge=1, le=1000, description="How many words the form `top` lists.")
    ] = 5
    unknown_words: Annotated[
        Literal["slots", "map", "error"],
        Meta(
            description="Unknown words are told apart (`slots`); `map` also lists them in `warnings`, "
            "`error` refuses them."
        ),
    ] = "slots"
    timeout_ms: Annotated[float, Meta(gt=0, description="Answer within this time or not at all.")] | None = (
        None
    )


class Mention(msgspec.Struct, frozen=True):
    """One place of a candidate: its characters in the document, and its first word in the attention."""

    start: int
    end: int
    token: int


class ScoredCandidate(msgspec.Struct, frozen=True):
    """A candidate, its probability, and where the document mentions it."""

    text: str
    score: float
    positions: list[Mention]


class ReadAnswer(msgspec.Struct, frozen=True):
    """The answer, the candidates with the most probable first, and how much attention each word got.

    ``score`` sums the attention over all mentions of a candidate, as a share of what all candidates got.
    """

    answer: str
    score: float
    candidates: list[ScoredCandidate]
    attention: Attention | None = None
    warnings: list[str] = msgspec.field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Context:
    """What ``interpret`` needs of a request: the document's words, and what the candidates are called."""

    request: ReadRequest
    document: Passage
    texts: list[str]
    lengths: list[int]
    numbers: Array
    warnings: list[str]


class Reading:
    """The task ``read``: words become token ids, attention becomes an answer with its mentions."""

    name: ClassVar[str] = "read"
    Request: ClassVar[type[msgspec.Struct]] = ReadRequest
    Answer: ClassVar[type[msgspec.Struct]] = ReadAnswer

    def __init__(self, max_attention_weights: int = 100_000) -> None:
        self._max_attention_weights = max_attention_weights

    def selector(self, request: ReadRequest) -> Mapping[str, str | int]:
        """Return no selector: one default model answers every question."""
        return {}

    def check(self, bundle: Bundle) -> None:
        """Make sure of the vocabulary, the limits, the tensors and the axes of the attention."""
        manifest = bundle.manifest
        if bundle.vocabulary is None or bundle.vocabulary.id_of(PLACEHOLDER) is None:
            raise BundleError(f"task read needs a tokenizer that knows {PLACEHOLDER} (manifest: tokenizer)")
        for limit in LIMITS:
            if manifest.limits.get(limit, 0) < 1:
                raise BundleError(f"task read needs {limit} (manifest: limits)")
        dims = {spec.name: spec.dims for spec in (*manifest.signature.inputs, *manifest.signature.outputs)}
        expected = {
            "document_tokens": ("batch", "tokens"),
            "question_tokens": ("batch", "question_tokens"),
            "token_candidates": ("batch", "tokens"),
            "candidates": ("batch", "candidates"),
            PROBABILITIES: ("batch", "candidates"),
            "attention": ("batch", 1, "tokens"),
        }
        for name, axes in expected.items():
            if dims.get(name) != axes:
                raise BundleError(f"task read needs {name} {list(axes)}, the manifest has {dims.get(name)}")
        attention = manifest.signature.attention
        if attention.output != "attention" or attention.axes != ("answer", "token"):
            raise BundleError("task read needs the output attention with the axes answer and token")

    def prepare(self, request: ReadRequest, bundle: Bundle) -> Prepared:
        """Make ids of document and question, and number the document's words by candidate."""
        assert bundle.vocabulary is not None
        limits, vocabulary = bundle.manifest.limits, bundle.vocabulary
        document = read_passage("document", request.document, vocabulary, limits["max_tokens"], "max_tokens")
        question = read_passage(
            "question", request.question, vocabulary, limits["max_question_tokens"], "max_question_tokens"
        )
        if question.words.count(PLACEHOLDER) > 1:
            raise InvalidRequest(f"question has more than one {PLACEHOLDER}", fields=["question"])
        texts, lengths, numbers = _candidates(
            request.candidates, document, vocabulary, limits["max_candidates"]
        )
        slots = Slots(vocabulary, limits["slots"])
        arrays: dict[str, Array] = {
            "document_tokens": slots.ids(document.words),
            "question_tokens": slots.ids(question.words),
            "token_candidates": numbers,
            "candidates": np.arange(1, len(texts) + 1, dtype=np.int64),
        }
        warnings = _about_unknown(request, document, slots, vocabulary)
        outputs = (PROBABILITIES,) if request.attention == "none" else (PROBABILITIES, "attention")
        return Prepared(arrays, outputs, _Context(request, document, texts, lengths, numbers, warnings))

    def interpret(self, outputs: Mapping[str, Array], prepared: Prepared, bundle: Bundle) -> ReadAnswer:
        """Turn ``candidate_probabilities`` and ``attention`` into the answer."""
        context: _Context = prepared.context
        request, warnings = context.request, list(context.warnings)
        scores: list[float] = floats(outputs[PROBABILITIES])
        if None in scores:
            raise RunError("the graph returned something that is not a number")
        best = sorted(range(len(scores)), key=lambda place: -scores[place])
        if request.candidates is None:
            best = best[: request.top_k]
        found = [
            ScoredCandidate(context.texts[place], scores[place], _mentions(context, place + 1))
            for place in best
        ]
        return ReadAnswer(
            answer=found[0].text,
            score=found[0].score,
            candidates=found,
            attention=self._attention(outputs, context, bundle, found[0].text, warnings),
            warnings=warnings,
        )

    def _attention(
        self,
        outputs: Mapping[str, Array],
        context: _Context,
        bundle: Bundle,
        answer: str,
        warnings: list[str],
    ) -> Attention | None:
        form = context.request.attention
        if form == "none":
            return None
        weights_1T = outputs["attention"]
        if form == "full" and weights_1T.size > self._max_attention_weights:
            form = "top"
            warnings.append(
                f"attention has {weights_1T.size} weights, an answer carries {self._max_attention_weights} "
                "(ENGRAM_MAX_ATTENTION_WEIGHTS): only the largest are given"
            )
        labels = {"answer": [answer], "token": context.document.surface}
        spec, top_k = bundle.manifest.signature.attention, context.request.attention_top_k
        return attend(spec, weights_1T, labels, form=form, top_k=top_k)


def _candidates(
    given: Sequence[str] | None, document: Passage, vocabulary: Vocabulary, most: int
) -> tuple[list[str], list[int], Array]:
    """Return what each candidate is called, how many words it has, and whose each word of the document is.

    Raises:
        InputTooLong: there are more than ``most``.
        InvalidRequest: one has no words, two have the same, or the document holds none of them.
    """
    if given is None:
        first = {word: place for place, word in reversed(list(enumerate(document.words)))}
        different = sorted(first, key=first.__getitem__)
        check_length("document", "different words", len(different), most, "max_candidates")
        numbered: dict[tuple[str, ...], int] = {(word,): number for number, word in enumerate(different, 1)}
        texts = [document.surface[first[word]] for word in different]
        return texts, [1] * len(texts), number_candidates(document.words, numbered)
    check_length("candidates", "items", len(given), most, "max_candidates")
    places: dict[tuple[str, ...], int] = {}
    for place, text in enumerate(given):
        words = tuple(word for word, _, _ in vocabulary.spans(text))
        if not words:
            raise InvalidRequest(f"candidates[{place}] has no words", fields=[f"candidates[{place}]"])
        if places.setdefault(words, place + 1) != place + 1:
            raise InvalidRequest(
                f"candidates[{place}] has the same words as candidates[{places[words] - 1}]",
                fields=[f"candidates[{place}]"],
            )
    numbers = number_candidates(document.words, places)
    if not numbers.any():
        raise InvalidRequest("the document holds none of the candidates", fields=["candidates"])
    return list(given), list(map(len, places)), numbers


def _about_unknown(
    request: ReadRequest, document: Passage, slots: Slots, vocabulary: Vocabulary
) -> list[str]:
    """Refuse unknown words, list them, or say when there are more than slots, as the request wants."""
    if not slots.given:
        return []
    if request.unknown_words == "error":
        held = set(document.words)
        fields = {word: "document" if word in held else "question" for word in slots.given}
        raise unknown_words_error(fields, vocabulary)
    if request.unknown_words == "map":
        return [f"not known to this model and told apart by slots: {', '.join(slots.given)}"]
    if len(slots.given) > slots.count:
        return [
            f"document and question have {len(slots.given)} different words that this model does not know, "
            f"and {slots.count} slots for them (manifest: slots): some share one"
        ]
    return []


def _mentions(context: _Context, number: int) -> list[Mention]:
    """Return the places of a candidate; its words stand one after another."""
    places = context.document.places
    length = context.lengths[number - 1]
    tokens = np.flatnonzero(context.numbers == number).tolist()
    return [Mention(places[token][0], places[token + length - 1][1], token) for token in tokens[::length]]
