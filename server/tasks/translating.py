"""Translating: texts in, texts out, each with where the model looked for every token.

Every sentence of every text is a part of the request, which is walked on its own, beside those of other
requests; a text that cannot be translated spoils only itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import msgspec
import numpy as np

from server.contract.attention import Attention, attend
from server.contract.bundle import Bundle
from server.contract.manifest import AttentionSpec
from server.contract.subwords import END_ID, SPECIAL, Subwords
from server.contract.tensors import Array
from server.errors import (
    BundleError,
    DeadlineExceeded,
    EngramError,
    InputError,
    InputTooLong,
    InvalidRequest,
    RunError,
    ShuttingDown,
)
from server.tasks.base import Prepared
from server.tasks.sentences import Piece
from server.tasks.translating_form import (
    Failure,
    TokenEvent,
    TranslateAnswer,
    TranslateRequest,
    Translation,
)
from server.tasks.translating_joined import join_translations, weights_of
from server.tasks.translating_parts import Part, parts_of, texts_of, warnings_of
from server.tasks.translating_search import Aim, Hypothesis, TranslatingSearch

CHARACTERS_A_PIECE = 20
"""So many characters for each piece that the model takes are cut up; it bounds the work."""

LONG_CHARACTERS = 5_000
"""More characters than these may take tens of milliseconds to cut into sentences."""

END = SPECIAL[END_ID]
"""The label of the end mark, which the model reads behind every text."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A sentence whose translation is looked for, and what a reader sees of what the model reads."""

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
        """Return the languages that are said: each pair has a default model of its own."""
        languages = {"source": request.source, "target": request.target}
        return {name: code for name, code in languages.items() if code is not None}

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

    def is_long(self, request: TranslateRequest) -> bool:
        """Say whether there is much to cut up."""
        return sum(map(len, request.texts or ())) + len(request.text or "") > LONG_CHARACTERS

    def parts(self, request: TranslateRequest, bundle: Bundle) -> Sequence[Part]:
        """Return the sentences of all texts of a request."""
        _check_languages(request, bundle)
        return parts_of(request, bundle)

    def whole(
        self,
        request: TranslateRequest,
        parts: Sequence[Part],
        outcomes: Sequence[Translation | EngramError],
        bundle: Bundle,
    ) -> TranslateAnswer:
        """Put sentences into their texts, and the translations in the order of the texts.

        A text alone has an answer or an error. So have several of which none could be translated for a
        reason that is not theirs: asked again, they may be.
        """
        texts = texts_of(request)
        own: list[list[tuple[Piece, Translation | EngramError]]] = [[] for _ in texts]
        for part, outcome in zip(parts, outcomes, strict=True):
            own[part.index].append((part.piece, outcome))
        errors = [next((one for _, one in each if isinstance(one, EngramError)), None) for each in own]
        for error in errors:
            if isinstance(error, DeadlineExceeded | ShuttingDown):
                raise error
        if all(errors) and errors[0] and (request.texts is None or not isinstance(errors[0], InputError)):
            raise errors[0]
        found = [[one for _, one in each if isinstance(one, Translation)] for each in own]
        weights = sum(weights_of(each) for each, error in zip(found, errors, strict=True) if not error)
        top_k = request.attention_top_k if weights > self._max_attention_weights else None
        answer = TranslateAnswer([], warnings_of(parts, weights, self._max_attention_weights))
        for text, each, translations, error in zip(texts, own, found, errors, strict=True):
            answer.translations.append(
                Translation(error=_failure(error))
                if error
                else join_translations(text, [piece for piece, _ in each], translations, top_k)
            )
        return answer

    def prepare(self, part: Part, bundle: Bundle) -> Prepared:
        """Make ``source_tokens [source_tokens]`` of one text."""
        assert bundle.subwords is not None
        limit = bundle.manifest.limits["max_pieces"]
        _check_length(part, len(part.text), CHARACTERS_A_PIECE * limit, "characters")
        ids, labels = bundle.subwords.ids(part.text), bundle.subwords.pieces(part.text)
        if not any(map(str.isalnum, part.text)):
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
            attention=self._attention(found, tokens),
        )

    def event(self, found: Hypothesis, place: int) -> TokenEvent:
        """Return what is told of a piece once it is settled."""
        # Half a character waits for its other pieces.
        before, now = (self.subwords.text(found.pieces[:end]).rstrip("\ufffd") for end in (place, place + 1))
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
        part, said = self.asked.part, now.removeprefix(before)
        if not place:
            said = part.before + said.lstrip()
        return TokenEvent(part.index, part.sentence, label, said, found.scores[place], attention)

    def _attention(self, found: Hypothesis, tokens: list[str]) -> Attention | None:
        request = self.asked.part.request
        if request.attention == "none":
            return None
        none_0S = np.zeros((0, len(self.asked.labels)), np.float32)  # of a translation that is empty
        weights_TS = np.stack(found.rows) if found.rows else none_0S
        labels = dict(zip(self.spec.axes, (tokens, self.asked.labels), strict=True))
        return attend(self.spec, weights_TS, labels, form=request.attention, top_k=request.attention_top_k)


def _failure(error: EngramError) -> Failure:
    """Return what a client may know: of a failure of the server no more than that it was one."""
    if error.code == RunError.code:
        return Failure(error.code, "the server failed on this text; its log has more")
    return Failure(error.code, error.message, dict(error.details))


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
