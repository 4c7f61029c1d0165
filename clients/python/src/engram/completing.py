"""Completing text: what is asked of a language model, and the words it writes with where they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Required, TypedDict

from engram.attention import Attention
from engram.calls import Call, PictureFormat, Reply, batch_call, checked_options, encode, picture_call
from engram.results import ItemError, ModelVersion, Payload, Timing, attention_of, envelope_of
from engram.streaming import MEDIA_TYPE, Stream


class CompleteOptions(TypedDict, total=False):
    """What may be said beside the text; what is left out takes the server's default.

    Attributes:
        max_words: How many words to write.
        then: Text that does come next: the answer says how probable each of its words was.
        temperature: 0 writes the most probable word; 1 draws from the model's own odds.
        seed: The same seed draws the same words.
        top_k: How many alternatives to list for each word.
        state: The ``state`` of a completion, to go on from its end; ``text`` is then only what is new.
        return_state: Whether the completion carries its state.
        allow_unknown: Whether the unknown word may be written.
        model: ``"name"`` or ``"name:version"`` instead of the default model.
        attention: ``"full"`` weights, the ``"top"`` ones of each word, or ``"none"``.
        attention_top_k: How many places ``"top"`` keeps.
        unknown_words: ``"map"`` reads words the model has never seen as unknown; ``"error"`` refuses.
    """

    max_words: int
    then: str | None
    temperature: float
    seed: int
    top_k: int
    state: str | None
    return_state: bool
    allow_unknown: bool
    model: str | None
    attention: Literal["full", "top", "none"]
    attention_top_k: int
    unknown_words: Literal["error", "map"]


class CompleteRequest(CompleteOptions, total=False):
    """One item of ``complete_many``: a text and options."""

    text: Required[str]


@dataclass(frozen=True)
class WordChoice:
    """A word that could come next; its probability is the sum of both ways to it."""

    word: str
    probability: float
    from_pointer: float
    from_vocabulary: float

    def __str__(self) -> str:
        return f"{self.word} ({self.probability:.3f})"


@dataclass(frozen=True)
class WrittenWord:
    """A word of a completion.

    Attributes:
        word: The model's own unit, such as ``@-@`` for a hyphen.
        text: What it adds to the text.
        probability: The sum of the two below.
        from_pointer: How much of it was copied from the words before.
        from_vocabulary: How much came from the vocabulary.
        sentinel_gate: The share that the pointer left to the vocabulary.
        alternatives: The most probable words at this place.
        attention: Where in the window the pointer looked, the sentinel last; ``None`` when not asked for.
    """

    word: str
    text: str
    probability: float
    from_pointer: float
    from_vocabulary: float
    sentinel_gate: float
    alternatives: tuple[WordChoice, ...]
    attention: Attention | None

    @classmethod
    def from_payload(cls, payload: Payload) -> WrittenWord:
        """Read one word of an answer, or one ``word`` event."""
        return cls(
            word=payload["word"],
            text=payload["text"],
            probability=payload["probability"],
            from_pointer=payload["from_pointer"],
            from_vocabulary=payload["from_vocabulary"],
            sentinel_gate=payload["sentinel_gate"],
            alternatives=tuple(_choice(item) for item in payload.get("alternatives") or ()),
            attention=attention_of(payload),
        )

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Completion:
    """What a language model wrote after a text.

    Attributes:
        text: The completion, as it continues the given text.
        score: The geometric mean of the words' probabilities.
        words: Its words one by one.
        state: What a next request needs to go on from here; ``None`` when not asked for.
        warnings: What the server noticed (unknown words).
        model: The model and version that answered.
        timing_ms: Where the time went in the server.
        batch_size: How many requests shared the last step.
        request_id: What to look for in the server's log.
        raw: The payload as the server sent it.
    """

    text: str
    score: float
    words: tuple[WrittenWord, ...]
    state: str | None = field(repr=False)
    warnings: tuple[str, ...]
    model: ModelVersion | None
    timing_ms: Timing | None
    batch_size: int | None
    request_id: str | None
    raw: Payload = field(repr=False, compare=False)

    @classmethod
    def from_payload(cls, payload: Payload, request_id: str | None = None) -> Completion:
        """Read one answer of ``/v1/complete`` or ``/v1/complete/batch``."""
        return cls(
            text=payload["text"],
            score=payload["score"],
            words=tuple(WrittenWord.from_payload(word) for word in payload["words"]),
            state=payload.get("state"),
            **envelope_of(payload, request_id),
        )

    def __str__(self) -> str:
        return self.text


def complete(request: CompleteRequest) -> Call[Completion]:
    """Continue one text."""
    return Call("POST", "/v1/complete", _read_completion, encode(checked_options(request, CompleteRequest)))


def complete_stream(request: CompleteRequest) -> Stream[WrittenWord, Completion]:
    """Continue one text, a word at a time."""
    body = encode(checked_options(request, CompleteRequest))
    call = Call("POST", "/v1/complete", _read_completion, body, MEDIA_TYPE)
    return Stream(call, {"word": WrittenWord.from_payload})


def complete_batch(
    requests: Sequence[CompleteRequest], first_index: int
) -> Call[list[Completion | ItemError]]:
    """Continue texts together; ``first_index`` is the place of the first among all of them."""
    bodies = [checked_options(request, CompleteRequest) for request in requests]
    return batch_call("/v1/complete", bodies, first_index, Completion.from_payload)


def complete_picture(request: CompleteRequest, picture_format: PictureFormat) -> Call[bytes]:
    """Continue one text and have the pointer's attention drawn, a column for each word."""
    return picture_call("/v1/complete", checked_options(request, CompleteRequest), picture_format)


def _choice(item: Any) -> WordChoice:
    return WordChoice(item["word"], item["probability"], item["from_pointer"], item["from_vocabulary"])


def _read_completion(reply: Reply) -> Completion:
    return Completion.from_payload(reply.json(), reply.request_id)
