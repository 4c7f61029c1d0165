"""Pointing: points in the plane, and the places among them that a network pointed at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Required, TypedDict

from engram.attention import Attention
from engram.calls import Call, PictureFormat, Reply, batch_call, checked_options, encode, picture_call
from engram.results import ItemError, ModelVersion, Payload, Timing, attention_of, envelope_of

PointTask = Literal["convex_hull", "delaunay", "tour"]
Points = Iterable[Sequence[float]]


class PointOptions(TypedDict, total=False):
    """What a request may say beside the points; what is left out takes the server's default.

    Attributes:
        model: ``"name"`` or ``"name:version"`` instead of the task's default model.
        beam_size: How many answers are followed at a time; more is slower and better.
        constrained: ``False`` lets the network alone decide, so that an answer may be invalid.
        attention: ``"full"`` weights, the ``"top"`` ones of each step, or ``"none"``.
        attention_top_k: How many points a step of ``"top"`` lists.
    """

    model: str | None
    beam_size: int
    constrained: bool
    attention: Literal["full", "top", "none"]
    attention_top_k: int


class PointRequest(PointOptions, total=False):
    """One item of ``point_many``: points, what to find among them, and options."""

    points: Required[Points]
    task: Required[PointTask]


@dataclass(frozen=True)
class Measures:
    """How good an answer is; what does not belong to the task is ``None``."""

    area_coverage: float | None = None
    length: float | None = None
    heuristic_length: float | None = None
    triangle_coverage: float | None = None

    def __str__(self) -> str:
        if self.length is not None:
            beside = (
                "" if self.heuristic_length is None else f" (simple heuristic {self.heuristic_length:.4g})"
            )
            return f"length {self.length:.4g}{beside}"
        if self.area_coverage is not None:
            return f"{self.area_coverage:.2%} of the hull's area"
        return f"{self.triangle_coverage or 0:.1%} of the triangles"


@dataclass(frozen=True)
class PointAnswer:
    """What was found among points.

    Attributes:
        indices: Places in the request's points: corners counter-clockwise, cities in order, or triples.
        valid: Whether it is an answer of the right kind.
        score: Its probability, 0 to 1.
        measures: How good it is by plain geometry.
        attention: A row for each step; ``None`` when none was asked for.
        warnings: What the server noticed (points at the same place).
        model: The model and version that answered.
        timing_ms: Where the time went in the server.
        batch_size: How many requests the graph ran at once.
        request_id: What to look for in the server's log.
        raw: The payload as the server sent it.
    """

    indices: tuple[int, ...] | tuple[tuple[int, ...], ...]
    valid: bool
    score: float
    measures: Measures
    attention: Attention | None
    warnings: tuple[str, ...]
    model: ModelVersion | None
    timing_ms: Timing | None
    batch_size: int | None
    request_id: str | None
    raw: Payload = field(repr=False, compare=False)

    @classmethod
    def from_payload(cls, payload: Payload, request_id: str | None = None) -> PointAnswer:
        """Read one answer of ``/v1/point`` or ``/v1/point/batch``."""
        known = {name: payload["measures"].get(name) for name in Measures.__annotations__}
        return cls(
            indices=tuple(tuple(one) if isinstance(one, list) else one for one in payload["indices"]),
            valid=payload["valid"],
            score=payload["score"],
            measures=Measures(**known),
            attention=attention_of(payload),
            **envelope_of(payload, request_id),
        )

    @property
    def sides(self) -> tuple[tuple[int, int], ...]:
        """The ways from point to point, closed: of the polygon, the round trip, or every triangle."""
        if self.indices and isinstance(self.indices[0], tuple):
            cycles = [one for one in self.indices if isinstance(one, tuple)]
        else:
            cycles = [tuple(one for one in self.indices if isinstance(one, int))]
        return tuple(
            (cycle[place - 1], cycle[place]) for cycle in cycles for place in range(1, len(cycle))
        ) + tuple((cycle[-1], cycle[0]) for cycle in cycles if len(cycle) > 2)

    def __str__(self) -> str:
        said = " ".join(str(one) for one in self.indices)
        return f"{said}  ({self.measures}{'' if self.valid else ', not a valid answer'})"


def point(request: PointRequest) -> Call[PointAnswer]:
    """Find something among points."""
    return Call("POST", "/v1/point", _read_answer, encode(_checked(request)))


def point_batch(requests: Sequence[PointRequest], first_index: int) -> Call[list[PointAnswer | ItemError]]:
    """Find things together; ``first_index`` is the place of the first among all that are asked."""
    bodies = [_checked(request) for request in requests]
    return batch_call("/v1/point", bodies, first_index, PointAnswer.from_payload)


def point_picture(request: PointRequest, picture_format: PictureFormat) -> Call[bytes]:
    """Find something and have the points drawn, with arrows and the attention of each step."""
    return picture_call("/v1/point", _checked(request), picture_format)


def _checked(request: PointRequest) -> dict[str, Any]:
    body = checked_options(request, PointRequest)
    body["points"] = [[float(value) for value in place] for place in request["points"]]
    return body


def _read_answer(reply: Reply) -> PointAnswer:
    return PointAnswer.from_payload(reply.json(), reply.request_id)
