"""Translating: what is asked of a translator, and its texts with where it looked for every token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypedDict

from engram.attention import Attention
from engram.calls import Call, PictureFormat, Reply, checked_options, encode, picture_call
from engram.core import Core
from engram.exchange import Steps
from engram.results import (
    ItemError,
    ModelVersion,
    Payload,
    Timing,
    attention_of,
    envelope_of,
)
from engram.streaming import MEDIA_TYPE, Stream

PATH = "/v1/translate"
MOST_TEXTS = 256
"""Texts that one request may hold."""


class TranslateOptions(TypedDict, total=False):
    """What may be said beside the text; what is left out takes the server's default.

    Attributes:
        target: The language to translate into, such as ``"fr"``.
        source: The language of the text.
        model: ``"name"`` or ``"name:version"`` instead of the languages' default model.
        beam_size: How many translations are followed at a time; 1 is greedy.
        max_length: The most tokens of the translation of a sentence.
        length_penalty: 0 prefers short translations of a beam, 1 those of the best mean.
        split: ``"sentences"`` translates sentence by sentence, ``"none"`` a text as it stands.
        attention: ``"full"`` weights, the ``"top"`` ones of each token, or ``"none"``.
        attention_top_k: How many source tokens ``"top"`` keeps.
    """

    target: str | None
    source: str | None
    model: str | None
    beam_size: int
    max_length: int | None
    length_penalty: float
    split: Literal["sentences", "none"]
    attention: Literal["full", "top", "none"]
    attention_top_k: int


@dataclass(frozen=True)
class Sentence:
    """A sentence of a text that was translated.

    Attributes:
        start: Its first character in the text.
        end: The one behind its last.
        text_start: The first character of its translation.
        text_end: The one behind the last.
        source_tokens: Its first token in ``source_tokens``, and the one behind its last.
        tokens: The same of ``tokens``.
        score: The mean log-probability of its tokens.
        finish_reason: ``"end"``, or ``"length"`` where it was cut off.
        begins_after: ``"sentence"``, or what a sentence that was too long was cut at: a ``"clause"``, a
            ``"word"`` or a ``"character"``.
    """

    start: int
    end: int
    text_start: int
    text_end: int
    source_tokens: tuple[int, int]
    tokens: tuple[int, int]
    score: float
    finish_reason: str
    begins_after: str

    @classmethod
    def from_payload(cls, payload: Payload) -> Sentence:
        """Read one of the ``sentences`` of a translation."""
        known: dict[str, Any] = {name: payload[name] for name in cls.__dataclass_fields__}
        for name in ("source_tokens", "tokens"):
            first, behind = payload[name]
            known[name] = (first, behind)
        return cls(**known)


@dataclass(frozen=True)
class TranslatedToken:
    """A token that has just been settled.

    Attributes:
        sentence: Its sentence, from 0.
        token: What the model wrote, without blanks.
        text: What it adds to the translation.
        score: Its log-probability.
        attention: Where in its sentence the model looked; ``None`` when not asked for.
    """

    sentence: int
    token: str
    text: str
    score: float
    attention: Attention | None

    @classmethod
    def from_payload(cls, payload: Payload) -> TranslatedToken:
        """Read one ``token`` event."""
        return cls(
            sentence=payload["sentence"],
            token=payload["token"],
            text=payload["text"],
            score=payload["score"],
            attention=attention_of(payload),
        )

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Translation:
    """A text in the other language.

    Attributes:
        text: The translation, in the lines of the text.
        score: The mean log-probability of its tokens.
        finish_reason: ``"end"``, or ``"length"`` where the model did not come to an end.
        source_tokens: What the model read: the columns of the attention.
        tokens: What it wrote: the rows of the attention.
        attention: Where it looked, or how much of its memory was rewritten (``attention.kind``), for each
            token; ``None`` when not asked for.
        sentences: What of all this belongs to which sentence.
        warnings: What the server noticed (sentences that had to be cut).
        model: The model and version that answered.
        timing_ms: Where the time went in the server, for all texts of the request.
        batch_size: How many requests shared a step.
        request_id: What to look for in the server's log.
        raw: The payload as the server sent it.
    """

    text: str
    score: float
    finish_reason: str
    source_tokens: tuple[str, ...]
    tokens: tuple[str, ...]
    attention: Attention | None
    sentences: tuple[Sentence, ...]
    warnings: tuple[str, ...]
    model: ModelVersion | None
    timing_ms: Timing | None
    batch_size: int | None
    request_id: str | None
    raw: Payload = field(repr=False, compare=False)

    @classmethod
    def from_payload(cls, payload: Payload, request_id: str | None = None) -> Translation:
        """Read one of the ``translations`` of an answer, with what the answer says about all of them."""
        return cls(
            text=payload["text"],
            score=payload["score"],
            finish_reason=payload["finish_reason"],
            source_tokens=tuple(payload["source_tokens"]),
            tokens=tuple(payload["tokens"]),
            attention=attention_of(payload),
            sentences=tuple(Sentence.from_payload(item) for item in payload.get("sentences") or ()),
            **envelope_of(payload, request_id),
        )

    def __str__(self) -> str:
        return self.text


def translate(text: str, options: TranslateOptions) -> Call[Translation]:
    """Translate one text."""
    return Call("POST", PATH, _read_one, encode(_body(options, text=text)))


def translate_batch(
    texts: Sequence[str], first_index: int, options: TranslateOptions
) -> Call[list[Translation | ItemError]]:
    """Translate texts together; ``first_index`` is the place of the first among all of them."""
    parse = partial(_read_some, first_index=first_index, count=len(texts))
    return Call("POST", PATH, parse, encode(_body(options, texts=list(texts))))


def translate_all(
    core: Core, texts: Sequence[str], options: TranslateOptions, timeout: float | None
) -> Steps[list[Translation | ItemError]]:
    """Translate any number of texts, in as few requests as the server takes; results keep the order."""
    found: list[Translation | ItemError] = []
    for start in range(0, len(texts), MOST_TEXTS):
        call = translate_batch(texts[start : start + MOST_TEXTS], start, options)
        found += yield from core.run(call, timeout)
    return found


def translate_stream(text: str, options: TranslateOptions) -> Stream[TranslatedToken, Translation]:
    """Translate one text, a token at a time."""
    call = Call("POST", PATH, _read_one, encode(_body(options, text=text)), MEDIA_TYPE)
    return Stream(call, {"token": TranslatedToken.from_payload})


def translate_picture(text: str, options: TranslateOptions, picture_format: PictureFormat) -> Call[bytes]:
    """Translate and have what was looked at drawn, a heat map for each sentence."""
    return picture_call(PATH, _body(options, text=text), picture_format)


def read_translations(
    payload: Mapping[str, Any], request_id: str | None = None, first_index: int = 0
) -> list[Translation | ItemError]:
    """Read a whole answer of ``/v1/translate``."""
    about = {name: value for name, value in payload.items() if name != "translations"}
    return [
        ItemError.from_payload(item["error"], index, request_id)
        if "error" in item
        else Translation.from_payload({**about, **item}, request_id)
        for index, item in enumerate(payload["translations"], start=first_index)
    ]


def _body(options: TranslateOptions, **texts: str | list[str]) -> dict[str, Any]:
    return {**texts, **checked_options(options, TranslateOptions)}


def _read_one(reply: Reply) -> Translation:
    [found] = read_translations(reply.json(), reply.request_id)
    if isinstance(found, Translation):
        return found
    raise ValueError(f"the only text has an error of its own ({found})")


def _read_some(reply: Reply, first_index: int, count: int) -> list[Translation | ItemError]:
    found = read_translations(reply.json(), reply.request_id, first_index)
    if len(found) != count:
        raise ValueError(f"{len(found)} translations for {count} texts")
    return found
