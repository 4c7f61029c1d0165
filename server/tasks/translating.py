"""Translating: texts in, texts out, each with where the model looked for every token.

A request of several texts has a part for each of them, which is walked on its own, beside those of other
requests; a text that cannot be translated spoils only itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from server.contract.attention import Attention, attend
from server.contract.bundle import Bundle
from server.contract.manifest import AttentionSpec
from server.contract.subwords import END_ID, SPECIAL, Subwords
from server.contract.tensors import Array
from server.errors import (
    BundleError,
    DeadlineExceeded,
    EngramError,
    InputTooLong,
    InvalidRequest,
    ShuttingDown,
)
from server.tasks.base import Prepared
from server.tasks.translating_form import (
    Failure,
    TokenEvent,
    TranslateAnswer,
    TranslateRequest,
    Translation,
)
from server.tasks.translating_search import Aim, Hypothesis, TranslatingSearch

CHARACTERS_A_PIECE = 20
"""So many characters for each piece that the model takes are cut up; it bounds the work."""

END = SPECIAL[END_ID]
"""The label of the end mark, which the model reads behind every text."""


@dataclass(frozen=True, slots=True)
class Part:
    """One text of a request: its place among the texts, and what it is called in errors."""

    request: TranslateRequest
    index: int
    field: str
    text: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A text whose translation is looked for, and what a reader sees of what the model reads."""

    part: Part
    labels: list[str]


class Translating:
    """The task ``translate``."""

    name: ClassVar[str] = "translate"
    Request: ClassVar[type[msgspec.Struct]] = TranslateRequest
    Answer: ClassVar[type[msgspec.Struct]] = TranslateAnswer
    events: ClassVar[tuple[type[msgspec.Struct], ...]] = (TokenEvent,)

    def __init__(self, max_attention_weights: int = 100_000) -> None:
        self._max_attention_weights = max_attention_weights

    def selector(self, request: TranslateRequest) -> Mapping[str, str | int]:
        """Return the languages: each pair has a default model of its own."""
        missing = [name for name in ("source", "target") if getattr(request, name) is None]
        if missing:
            raise InvalidRequest(
                f"{' and '.join(missing)} of the translation must be given, or a model", fields=missing
            )
        return {"source": request.source or "", "target": request.target or ""}

    def check(self, bundle: Bundle) -> None:
        """Make sure of the tokenizer, the languages, the limit and the tensors of encoder and step."""
        manifest = bundle.manifest
        if bundle.subwords is None:
            raise BundleError("task translate needs a tokenizer of subwords (manifest: tokenizer)")
        if not all(isinstance(manifest.selector.get(name), str) for name in ("source", "target")):
            raise BundleError("task translate needs source and target (manifest: selector)")
        if manifest.limits.get("max_pieces", 0) < 1:
            raise BundleError("task translate needs max_pieces (manifest: limits)")
        for stage in ("encoder", "step"):
            if stage not in manifest.stages:
                raise BundleError(f"task translate needs a stage {stage} (manifest: stages)")
        encoder, step = manifest.stages["encoder"], manifest.stages["step"]
        dims = {spec.name: spec.dims for spec in (*encoder.inputs, *encoder.outputs)}
        dims |= {spec.name: spec.dims for spec in (*step.inputs, *step.outputs)}
        expected: dict[str, tuple[str | int, ...]] = {
            "source_tokens": ("batch", "source_tokens"),
            "most_steps": ("batch",),
            "previous_token": ("batch",),
            "log_probabilities": ("batch", len(bundle.subwords)),
            "attention": ("batch", "source_tokens"),
        }
        for name, axes in expected.items():
            if dims.get(name) != axes:
                raise BundleError(
                    f"task translate needs {name} {list(axes)}, the stages have {dims.get(name)}"
                )

    def parts(self, request: TranslateRequest, bundle: Bundle) -> Sequence[Part]:
        """Return the texts of a request."""
        if (request.text is None) == (request.texts is None):
            raise InvalidRequest("a request has either text or texts", fields=["text", "texts"])
        _check_languages(request, bundle)
        if request.texts is None:
            return [Part(request, 0, "text", request.text or "")]
        return [Part(request, index, f"texts[{index}]", text) for index, text in enumerate(request.texts)]

    def whole(
        self,
        request: TranslateRequest,
        parts: Sequence[Part],
        outcomes: Sequence[Translation | EngramError],
        bundle: Bundle,
    ) -> TranslateAnswer:
        """Put the translations in the order of the texts; a text alone has an answer or an error."""
        if request.texts is None and isinstance(outcomes[0], EngramError):
            raise outcomes[0]
        fatal = (error for error in outcomes if isinstance(error, DeadlineExceeded | ShuttingDown))
        if (error := next(fatal, None)) is not None:
            raise error
        answer = TranslateAnswer([_translation(one) for one in outcomes])
        return self._bounded(answer, request, bundle.manifest.signature.attention)

    def prepare(self, part: Part, bundle: Bundle) -> Prepared:
        """Make ``source_tokens [source_tokens]`` of one text."""
        assert bundle.subwords is not None
        limit = bundle.manifest.limits["max_pieces"]
        _check_length(part, len(part.text), CHARACTERS_A_PIECE * limit, "characters")
        ids, labels = bundle.subwords.ids(part.text), bundle.subwords.pieces(part.text)
        if not any(labels):
            raise InvalidRequest(f"{part.field} has no words", fields=[part.field])
        _check_length(part, len(ids), limit, "pieces")
        outputs: tuple[str, ...] = ("most_steps", "log_probabilities")
        if part.request.attention != "none":
            outputs += ("attention",)
        arrays = {"source_tokens": np.append(ids, END_ID)}
        return Prepared(arrays, outputs, Asked(part, [*labels, END]), rows=part.request.beam_size)

    def begin(self, encoded: Mapping[str, Array], prepared: Prepared, bundle: Bundle) -> TranslatingSearch:
        """Return the search for one text."""
        asked: Asked = prepared.context
        request = asked.part.request
        most = int(encoded["most_steps"]) - 1
        if request.max_length is not None:
            most = min(most, request.max_length)
        assert bundle.subwords is not None
        wording = _Wording(asked, bundle.subwords, bundle.manifest.signature.attention)
        return TranslatingSearch(
            Aim(request.beam_size, most, request.length_penalty),
            wording.translation,
            wording.event if prepared.is_streamed else None,
        )

    def _bounded(
        self, answer: TranslateAnswer, request: TranslateRequest, spec: AttentionSpec
    ) -> TranslateAnswer:
        """Keep the largest weights of each token where there are too many for one answer."""
        attentions = [one.attention for one in answer.translations]
        size = sum(one.weights.size for one in attentions if one and isinstance(one.weights, np.ndarray))
        if size <= self._max_attention_weights:
            return answer
        warning = (
            f"attention has {size} weights, an answer carries {self._max_attention_weights} "
            "(ENGRAM_MAX_ATTENTION_WEIGHTS): only the largest of each token are given"
        )
        translations = [
            msgspec.structs.replace(one, attention=_top(one.attention, spec, request.attention_top_k))
            for one in answer.translations
        ]
        return TranslateAnswer(translations, [warning])


@dataclass(frozen=True, slots=True)
class _Wording:
    """Puts words on what a search finds."""

    asked: Asked
    subwords: Subwords
    spec: AttentionSpec

    def translation(self, found: Hypothesis) -> Translation:
        """Return the translation that a hypothesis is."""
        tokens = self.subwords.labels(found.pieces)
        return Translation(
            text=self.subwords.text(found.pieces).strip(),
            score=found.total / found.length,
            finish_reason="end" if found.ended else "length",
            source_tokens=self.asked.labels,
            tokens=tokens,
            attention=self._attention(np.stack(found.rows), tokens) if found.rows else None,
        )

    def event(self, found: Hypothesis, place: int) -> TokenEvent:
        """Return what is told of a piece once it is settled."""
        before, now = (self.subwords.text(found.pieces[:end]) for end in (place, place + 1))
        attention = None
        if found.rows:
            spec, row = self.spec, found.rows[place]
            attention = attend(
                spec.model_copy(update={"axes": spec.axes[-1:]}),
                row,
                {spec.axes[-1]: self.asked.labels},
                form=self.asked.part.request.attention,
                top_k=self.asked.part.request.attention_top_k,
            )
        label = self.subwords.labels(found.pieces[: place + 1])[-1]
        return TokenEvent(
            self.asked.part.index, label, now.removeprefix(before), found.scores[place], attention
        )

    def _attention(self, weights_TS: NDArray[np.float32], tokens: list[str]) -> Attention:
        labels = dict(zip(self.spec.axes, (tokens, self.asked.labels), strict=True))
        request = self.asked.part.request
        return attend(
            self.spec,
            weights_TS,
            labels,
            form=self.asked.part.request.attention,
            top_k=request.attention_top_k,
        )


def _check_languages(request: TranslateRequest, bundle: Bundle) -> None:
    for field in ("source", "target"):
        own, asked = bundle.manifest.selector[field], getattr(request, field)
        if asked not in (None, own):
            raise InvalidRequest(
                f"model {bundle.manifest.name} has {field} {own!r}, the request {asked!r}", fields=[field]
            )


def _check_length(part: Part, length: int, limit: int, unit: str) -> None:
    if length > limit:
        raise InputTooLong(
            f"{part.field} has {length} {unit}, this model takes {limit} (manifest: max_pieces)",
            fields=[part.field],
            length=length,
            limit=limit,
        )


def _top(attention: Attention | None, spec: AttentionSpec, top_k: int) -> Attention | None:
    if attention is None:
        return None
    labels = {axis.name: axis.labels for axis in attention.axes}
    return attend(spec, attention.weights, labels, form="top", top_k=top_k)


def _translation(outcome: Translation | EngramError) -> Translation:
    if isinstance(outcome, EngramError):
        return Translation(error=Failure(outcome.code, outcome.message, dict(outcome.details)))
    return outcome
