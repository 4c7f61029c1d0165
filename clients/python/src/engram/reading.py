"""Reading: what is asked about a document, and the answer with every place where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Required, TypedDict

from engram.attention import Attention
from engram.calls import Call, PictureFormat, Reply, batch_call, checked_options, encode, picture_call
from engram.results import ItemError, ModelVersion, Payload, Timing, attention_of, envelope_of


class ReadOptions(TypedDict, total=False):
    """What a question may say beside the document; what is left out takes the server's default.

    Attributes:
        candidates: What the answer may be, words or phrases; without them, any word of the document.
        model: ``"name"`` or ``"name:version"`` instead of the default model.
        top_k: How many words to list where no candidates were given.
        attention: ``"full"`` weights, the ``"top"`` ones, or ``"none"``.
        attention_top_k: How many words ``"top"`` lists.
        unknown_words: ``"slots"`` tells unknown words apart, ``"map"`` also lists them, ``"error"`` refuses.
    """

    candidates: Sequence[str] | None
    model: str | None
    top_k: int
    attention: Literal["full", "top", "none"]
    attention_top_k: int
    unknown_words: Literal["slots", "map", "error"]


class ReadRequest(ReadOptions, total=False):
    """One item of ``read_many``: a document, a question and options."""

    document: Required[str]
    question: Required[str]


@dataclass(frozen=True)
class Mention:
    """One place of a candidate: its characters in the document, and its first word in the attention."""

    start: int
    end: int
    token: int


@dataclass(frozen=True)
class Candidate:
    """A candidate, its probability and its mentions."""

    text: str
    score: float
    positions: tuple[Mention, ...]

    def __str__(self) -> str:
        return f"{self.text} ({self.score:.3f}, {len(self.positions)} mentions)"


@dataclass(frozen=True)
class ReadAnswer:
    """The answer to a question about a document.

    Attributes:
        answer: The most probable candidate.
        score: Its probability, 0 to 1: the attention on all its mentions.
        candidates: The candidates, the most probable first.
        attention: The weight of every word of the document; ``None`` when none was asked for.
        warnings: What the server noticed (unknown words).
        model: The model and version that answered.
        timing_ms: Where the time went in the server.
        batch_size: How many requests the graph ran at once.
        request_id: What to look for in the server's log.
        raw: The payload as the server sent it.
    """

    answer: str
    score: float
    candidates: tuple[Candidate, ...]
    attention: Attention | None
    warnings: tuple[str, ...]
    model: ModelVersion | None
    timing_ms: Timing | None
    batch_size: int | None
    request_id: str | None
    raw: Payload = field(repr=False, compare=False)

    @classmethod
    def from_payload(cls, payload: Payload, request_id: str | None = None) -> ReadAnswer:
        """Read one answer of ``/v1/read`` or ``/v1/read/batch``."""
        return cls(
            answer=payload["answer"],
            score=payload["score"],
            candidates=tuple(_candidate(item) for item in payload.get("candidates") or ()),
            attention=attention_of(payload),
            **envelope_of(payload, request_id),
        )

    def __str__(self) -> str:
        return "\n".join([f"{self.answer} ({self.score:.3f})", *(f"  {item}" for item in self.candidates)])


def places_of(words: Sequence[str], document: str) -> list[tuple[int, int]]:
    """Return where the words of an attention stand in the document they come from, in order."""
    places: list[tuple[int, int]] = []
    end = 0
    for word in words:
        start = document.index(word, end)
        end = start + len(word)
        places.append((start, end))
    return places


def read(request: ReadRequest) -> Call[ReadAnswer]:
    """Ask one question about a document."""
    return Call("POST", "/v1/read", _read_answer, encode(_checked(request)))


def read_batch(requests: Sequence[ReadRequest], first_index: int) -> Call[list[ReadAnswer | ItemError]]:
    """Ask questions together; ``first_index`` is the place of the first among all that are asked."""
    bodies = [_checked(request) for request in requests]
    return batch_call("/v1/read", bodies, first_index, ReadAnswer.from_payload)


def read_picture(request: ReadRequest, picture_format: PictureFormat) -> Call[bytes]:
    """Ask one question and have the document drawn, its words shaded by their attention."""
    return picture_call("/v1/read", _checked(request), picture_format)


def _checked(request: ReadRequest) -> dict[str, Any]:
    body = checked_options(request, ReadRequest)
    if "candidates" in body:
        body["candidates"] = list(body["candidates"])
    return body


def _candidate(item: Payload) -> Candidate:
    positions = tuple(
        Mention(place["start"], place["end"], place["token"]) for place in item.get("positions") or ()
    )
    return Candidate(item["text"], item["score"], positions)


def _read_answer(reply: Reply) -> ReadAnswer:
    return ReadAnswer.from_payload(reply.json(), reply.request_id)
