"""What comes back: frozen records with the fields of the contract.

Every record that the server may extend keeps its payload in ``raw``, so a field newer than this
package is ``answer.raw["new_field"]``. Fields a server leaves out take the defaults below.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict

from engram.attention import Attention
from engram.errors import APIStatusError, error_class

Payload = Mapping[str, Any]


@dataclass(frozen=True)
class ScoredAnswer:
    """An answer and its probability: an alternative, or what the model would have said after one hop."""

    answer: str
    score: float

    def __str__(self) -> str:
        return f"{self.answer} ({self.score:.3f})"


@dataclass(frozen=True)
class Evidence:
    """A sentence the model looked at: its index in the story (from 0), its text and its largest gate."""

    index: int
    text: str
    weight: float

    def __str__(self) -> str:
        return f"{self.weight:.3f}  {self.index + 1}. {self.text}"


@dataclass(frozen=True)
class Timing:
    """Milliseconds a request spent waiting, in the graph, and in the server altogether."""

    queue: float
    compute: float
    total: float


@dataclass(frozen=True)
class ModelVersion:
    """The model that answered."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}:{self.version}" if self.version else self.name


@dataclass(frozen=True)
class Answer:
    """The answer to a question about a story.

    Attributes:
        answer: The most probable answer.
        score: Its probability, 0 to 1.
        alternatives: The most probable answers, the given one first.
        hops: What the model would have answered after each hop.
        evidence: The sentences with the largest gates, largest first.
        attention: All gates, hop by fact; ``None`` when none were asked for.
        warnings: What the server changed or noticed (truncated stories, unknown words).
        model: The model and version that answered.
        timing_ms: Where the time went in the server.
        batch_size: How many requests the graph ran at once.
        request_id: What to look for in the server's log.
        raw: The payload as the server sent it.
    """

    answer: str
    score: float
    alternatives: tuple[ScoredAnswer, ...]
    hops: tuple[ScoredAnswer, ...]
    evidence: tuple[Evidence, ...]
    attention: Attention | None
    warnings: tuple[str, ...]
    model: ModelVersion | None
    timing_ms: Timing | None
    batch_size: int | None
    request_id: str | None
    raw: Payload = field(repr=False, compare=False)

    @classmethod
    def from_payload(cls, payload: Payload, request_id: str | None = None) -> Answer:
        """Read one answer of ``/v1/qa`` or ``/v1/qa/batch``."""
        return cls(
            answer=payload["answer"],
            score=payload["score"],
            alternatives=_scored(payload.get("alternatives")),
            hops=_scored(payload.get("hops")),
            evidence=tuple(
                Evidence(item["index"], item["text"], item["weight"])
                for item in payload.get("evidence") or ()
            ),
            attention=attention_of(payload),
            **envelope_of(payload, request_id),
        )

    def __str__(self) -> str:
        return "\n".join([f"{self.answer} ({self.score:.3f})", *(f"  {item}" for item in self.evidence)])


@dataclass(frozen=True)
class ItemError:
    """Why one request of a batch has no answer; the others have theirs.

    ``index`` is the request's place in what was passed to ``ask_many``.
    """

    index: int
    code: str
    message: str
    details: Payload
    request_id: str | None
    raw: Payload = field(repr=False, compare=False)

    @classmethod
    def from_payload(cls, payload: Payload, index: int, request_id: str | None = None) -> ItemError:
        """Read the ``error`` of one batch item."""
        return cls(
            index=index,
            code=payload.get("code", ""),
            message=payload.get("message", ""),
            details=payload.get("details") or {},
            request_id=payload.get("request_id") or request_id,
            raw=payload,
        )

    def as_exception(self) -> APIStatusError:
        """Return the exception that ``ask`` would have raised for this request."""
        return error_class(self.code, None)(self.message, None, self.code, self.details, self.request_id)

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"


@dataclass(frozen=True)
class Model:
    """A model of the server: what it does, whether it answers, and what it takes.

    Attributes:
        name: Its name, for the ``model`` option.
        task: ``qa``, ``translate``, ``point``, ``read``, ``complete`` or ``compute``.
        family: Its architecture.
        versions: The versions that exist.
        state: ``loading``, ``ready``, ``failed`` or ``unloaded``.
        reason: Why it is not ready.
        runtime: What runs it.
        device: Where it really runs.
        limits: Inclusive maxima by name (``max_facts``).
        languages: The languages of its words.
        metrics: What was measured, and on what.
        raw: The payload as the server sent it.
    """

    name: str
    task: str
    family: str
    versions: tuple[str, ...]
    state: str
    reason: str | None
    runtime: str
    device: str
    limits: Mapping[str, int]
    languages: tuple[str, ...]
    metrics: Payload = field(repr=False)
    raw: Payload = field(repr=False, compare=False)

    @classmethod
    def from_payload(cls, payload: Payload) -> Model:
        """Read one model of ``/v1/models``."""
        return cls(
            name=payload["name"],
            task=payload.get("task") or "",
            family=payload.get("family") or "",
            versions=tuple(_version(item) for item in payload.get("versions") or ()),
            state=payload.get("state") or "",
            reason=payload.get("reason"),
            runtime=payload.get("runtime") or "",
            device=payload.get("device") or "",
            limits=payload.get("limits") or {},
            languages=tuple(payload.get("languages") or ()),
            metrics=payload.get("metrics") or {},
            raw=payload,
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.task}, {self.family}): {self.state}, {self.runtime} on {self.device}"


def _scored(items: Any) -> tuple[ScoredAnswer, ...]:
    return tuple(ScoredAnswer(item["answer"], item["score"]) for item in items or ())


def _version(item: Any) -> str:
    """Read a version that is listed bare or described."""
    return str(item["version"] if isinstance(item, Mapping) else item)


def attention_of(payload: Payload) -> Attention | None:
    """Read the attention of an answer, or of a part of it."""
    attention = payload.get("attention")
    return Attention.from_payload(attention) if attention else None


class Envelope(TypedDict):
    """What every answer carries beside what was asked for; the answers say what it means."""

    warnings: tuple[str, ...]
    model: ModelVersion | None
    timing_ms: Timing | None
    batch_size: int | None
    request_id: str | None
    raw: Payload


def envelope_of(payload: Payload, request_id: str | None) -> Envelope:
    """Read what every answer carries."""
    return {
        "warnings": tuple(str(warning) for warning in payload.get("warnings") or ()),
        "model": _model_version(payload.get("model")),
        "timing_ms": _timing(payload.get("timing_ms")),
        "batch_size": payload.get("batch_size"),
        "request_id": request_id,
        "raw": payload,
    }


def _model_version(payload: Payload | None) -> ModelVersion | None:
    return ModelVersion(payload["name"], str(payload.get("version", ""))) if payload else None


def _timing(payload: Payload | None) -> Timing | None:
    if not payload:
        return None
    return Timing(payload.get("queue", 0.0), payload.get("compute", 0.0), payload.get("total", 0.0))
