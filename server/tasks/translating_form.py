"""What a request and an answer of the task ``translate`` look like."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from server.contract.attention import Attention, Form
from server.tasks.sentences import Boundary

MOST_TEXTS = 256
MOST_BEAMS = 8


class TranslateRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One text or several, and the languages they are in and shall be in."""

    text: Annotated[str | None, Meta(description="What to translate.")] = None
    texts: Annotated[
        Annotated[list[str], Meta(min_length=1, max_length=MOST_TEXTS)] | None,
        Meta(description="The same for several texts; each is translated on its own."),
    ] = None
    source: Annotated[
        str | None, Meta(description="The language of the text, such as `en`; `model` says it as well.")
    ] = None
    target: Annotated[
        str | None, Meta(description="The language to translate into, such as `fr`; `model` says it as well.")
    ] = None
    model: Annotated[
        str | None, Meta(description="`name` or `name:version`; without it the languages' default answers.")
    ] = None
    beam_size: Annotated[
        int,
        Meta(ge=1, le=MOST_BEAMS, description="How many translations are followed at a time; 1 is greedy."),
    ] = 1
    max_length: (
        Annotated[
            int,
            Meta(ge=1, le=4096, description="The most tokens of a translation; the model has its own limit."),
        ]
        | None
    ) = None
    length_penalty: Annotated[
        float,
        Meta(
            ge=0,
            le=4,
            description="Translations of a beam are compared by their log-probability over their length to "
            "the power of this: 0 prefers short ones, 1 the best mean.",
        ),
    ] = 1.0
    split: Annotated[
        Literal["sentences", "none"],
        Meta(
            description="Translate sentence by sentence, whatever a text's length, or a text as it stands, "
            "which is then refused if it is too long."
        ),
    ] = "sentences"
    attention: Annotated[Form, Meta(description="Every weight, the largest of each token, or none.")] = "full"
    attention_top_k: Annotated[
        int, Meta(ge=1, le=1000, description="How many source tokens the form `top` lists.")
    ] = 5
    timeout_ms: Annotated[float, Meta(gt=0, description="Answer within this time or not at all.")] | None = (
        None
    )

    @property
    def items(self) -> int:
        """Count the texts."""
        return 1 if self.texts is None else len(self.texts)


class Sentence(msgspec.Struct, frozen=True):
    """One sentence of a text that was translated sentence by sentence.

    ``start`` to ``end`` are its characters in the text that was given, ``text_start`` to ``text_end`` those
    of its translation; ``source_tokens`` and ``tokens`` are its first token and the one behind its last in
    the lists of the whole. ``begins_after`` is ``sentence``, or what a sentence that was too long for the
    model was cut at: a ``clause``, a ``word`` or a ``character``.
    """

    start: int
    end: int
    text_start: int
    text_end: int
    source_tokens: tuple[int, int]
    tokens: tuple[int, int]
    score: float
    finish_reason: Literal["end", "length"]
    begins_after: Boundary = "sentence"


class Failure(msgspec.Struct, frozen=True):
    """Why one of several texts has no translation: code, message and details as in any error."""

    code: str
    message: str
    details: dict[str, Any] = {}


class Translation(msgspec.Struct, frozen=True, omit_defaults=True):
    """One text in the other language, or the error that it has instead.

    ``score`` is the mean log-probability of its tokens, the end included. ``finish_reason`` is ``end`` where
    the model ended the text, ``length`` where it was cut. ``source_tokens`` are what the model read, the mark
    of the end included, ``tokens`` what it wrote: the columns and the rows of ``attention``. ``sentences``
    says which of them belong to which sentence.
    """

    text: str | None = None
    score: float | None = None
    finish_reason: Literal["end", "length"] | None = None
    source_tokens: list[str] | None = None
    tokens: list[str] | None = None
    attention: Attention | None = None
    sentences: list[Sentence] | None = None
    error: Failure | None = None


class TokenEvent(msgspec.Struct, frozen=True, tag="token", tag_field="event"):
    """A token that is settled: no hypothesis of the beam is without it.

    ``index`` counts the texts of the request, ``sentence`` the sentences of the text. ``text`` is what the
    token adds to the translation, ``score`` its log-probability, and ``attention`` where in its sentence the
    model looked for it.
    """

    index: int
    sentence: int
    token: str
    text: str
    score: float
    attention: Attention | None = None


class TranslateAnswer(msgspec.Struct, frozen=True):
    """The translations, in the order of the texts."""

    translations: list[Translation]
    warnings: list[str] = msgspec.field(default_factory=list)

    @property
    def answer(self) -> str:
        """Return the first translation as a headline."""
        return next((one.text for one in self.translations if one.text is not None), "")

    @property
    def attention(self) -> Attention | None:
        """Return the first attention there is, for a picture."""
        return next((one.attention for one in self.translations if one.attention is not None), None)
