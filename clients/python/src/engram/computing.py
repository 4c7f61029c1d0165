"""Computing: an operation and its operands, and the digits a network makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Required, TypedDict

from engram.attention import Attention
from engram.calls import Call, Reply, checked_options, encode
from engram.results import ModelVersion, Payload, Timing, attention_of, envelope_of

Operation = Literal["add", "multiply", "sort", "reverse", "duplicate"]


class ComputeOptions(TypedDict, total=False):
    """What may be said beside the operands; what is left out takes the server's default.

    Attributes:
        base: 2 (digits 0 and 1) or 10.
        model: ``"name"`` or ``"name:version"`` instead of the operation's default model.
        attention: ``"full"`` activity, the ``"top"`` cells of each step, or ``"none"``.
        attention_top_k: How many cells a step of ``"top"`` lists.
    """

    base: Literal[2, 10]
    model: str | None
    attention: Literal["full", "top", "none"]
    attention_top_k: int


class ComputeRequest(ComputeOptions, total=False):
    """What is sent: an operation and strings of digits, most significant first."""

    operation: Required[Operation]
    operands: Required[Sequence[str]]


@dataclass(frozen=True)
class ComputeAnswer:
    """The digits a network came to.

    Attributes:
        result: A string of digits; a number comes most significant digit first, without leading zeros.
        score: The probability the model gives to all digits together.
        steps: How many steps it took.
        attention: How much each cell of the memory was rewritten in each step; ``None`` if not asked for.
        warnings: What the server noticed.
        model: The model and version that answered.
        timing_ms: Where the time went in the server.
        batch_size: How many requests the graph ran at once.
        request_id: What to look for in the server's log.
        raw: The payload as the server sent it.
    """

    result: str
    score: float
    steps: int
    attention: Attention | None
    warnings: tuple[str, ...]
    model: ModelVersion | None
    timing_ms: Timing | None
    batch_size: int | None
    request_id: str | None
    raw: Payload = field(repr=False, compare=False)

    @classmethod
    def from_payload(cls, payload: Payload, request_id: str | None = None) -> ComputeAnswer:
        """Read one answer of ``/v1/compute``."""
        return cls(
            result=payload["result"],
            score=payload["score"],
            steps=payload["steps"],
            attention=attention_of(payload),
            **envelope_of(payload, request_id),
        )

    def __str__(self) -> str:
        return f"{self.result} ({self.score:.3f}, {self.steps} steps)"


def compute(request: ComputeRequest) -> Call[ComputeAnswer]:
    """Compute one result."""
    body = checked_options(request, ComputeRequest)
    body["operands"] = list(body["operands"])
    return Call("POST", "/v1/compute", _read_answer, encode(body))


def _read_answer(reply: Reply) -> ComputeAnswer:
    return ComputeAnswer.from_payload(reply.json(), reply.request_id)
