"""What a request and an answer of the task ``point`` look like."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from server.contract.attention import Attention, Form

PointTask = Literal["convex_hull", "delaunay", "tour"]

Coordinate = Annotated[float, Meta(ge=-1e100, le=1e100)]

MOST_BEAMS = 64


class PointRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Points in the plane and what to find among them."""

    task: Annotated[
        PointTask, Meta(description="The convex hull, a Delaunay triangulation, or a short round trip.")
    ]
    points: Annotated[
        list[tuple[Coordinate, Coordinate]], Meta(description="`[x, y]` of each point, at any scale.")
    ]
    model: Annotated[
        str | None, Meta(description="`name` or `name:version`; without it the task's default model answers.")
    ] = None
    beam_size: Annotated[
        int,
        Meta(
            ge=1,
            le=MOST_BEAMS,
            description="How many answers are followed at a time. Of complete round trips the shortest is "
            "given, of other answers the most probable.",
        ),
    ] = 8
    constrained: Annotated[
        bool,
        Meta(
            description="Follow valid answers only: convex polygons, triangles that do not overlap. "
            "Without it the network alone decides."
        ),
    ] = True
    attention: Annotated[Form, Meta(description="Every weight, the largest of each step, or none.")] = "full"
    attention_top_k: Annotated[
        int, Meta(ge=1, le=1000, description="How many points a step in the form `top` lists.")
    ] = 5
    timeout_ms: Annotated[float, Meta(gt=0, description="Answer within this time or not at all.")] | None = (
        None
    )


class Measures(msgspec.Struct, frozen=True, omit_defaults=True):
    """How good an answer is, by plain geometry.

    ``area_coverage`` is the share of the true hull's area, 0 where the polygon is invalid. ``length`` is that
    of the round trip in the units of the request, ``heuristic_length`` that of nearest neighbours with 2-opt.
    ``triangle_coverage`` is the share of the true triangulation's triangles that were found.
    """

    area_coverage: float | None = None
    length: float | None = None
    heuristic_length: float | None = None
    triangle_coverage: float | None = None


class PointAnswer(msgspec.Struct, frozen=True):
    """Places in ``points``, in the order in which the model pointed at them.

    A hull's corners go counter-clockwise; a triangulation's triangles are triples. ``valid`` says whether the
    answer is of the right kind: a simple polygon, each city once, triangles that cover the hull without
    overlap. ``score`` is the probability of the answer; each row of ``attention`` is one step, and where an
    answer has no fixed length the last column is the stop.
    """

    indices: list[int | list[int]]
    valid: bool
    score: float
    measures: Measures
    attention: Attention | None = None
    warnings: list[str] = msgspec.field(default_factory=list)
