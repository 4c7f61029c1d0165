"""Pointing: points in the plane in, places among them out: a hull, a triangulation or a round trip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from server.contract.attention import Attention, attend
from server.contract.bundle import Bundle
from server.contract.manifest import StageName
from server.contract.tensors import Array
from server.errors import BundleError, InvalidRequest
from server.tasks.base import Prepared
from server.tasks.constraints import Anything, Constraint, ConvexPolygon, Triangulation
from server.tasks.plane import (
    Points,
    convex_hull,
    delaunay,
    is_simple,
    polygon_area,
    simple_tour,
    tour_length,
    triangle_count,
)
from server.tasks.pointing_form import Measures, PointAnswer, PointRequest
from server.tasks.pointing_search import Aim, Path, PointingSearch
from server.tasks.words import too_long

POINT_KIND, STOP_KIND = 1, 2
"""What ``kinds`` says of an element; 0 is padding."""

FEWEST = {"convex_hull": 3, "delaunay": 3, "tour": 2}
"""Points that an answer needs."""

TENSORS: Mapping[StageName, Mapping[str, tuple[str | int, ...]]] = {
    "encoder": {"points": ("batch", "points", 2), "kinds": ("batch", "points")},
    "step": {"choice": ("batch",), "attention": ("batch", "points")},
}
"""The axes of what this task feeds and reads, by stage."""


@dataclass(frozen=True, slots=True)
class _Context:
    """What a search needs of a request: points normalised in float64, and their scale."""

    request: PointRequest
    points_P2: Points
    scale: float
    stops: bool
    warnings: list[str]


class Pointing:
    """The task ``point``: a stepwise task whose constraint and measures depend on ``task``."""

    name: ClassVar[str] = "point"
    Request: ClassVar[type[msgspec.Struct]] = PointRequest
    Answer: ClassVar[type[msgspec.Struct]] = PointAnswer
    events: ClassVar[tuple[type[msgspec.Struct], ...]] = ()

    def __init__(self, max_attention_weights: int = 100_000) -> None:
        self._max_attention_weights = max_attention_weights

    def selector(self, request: PointRequest) -> Mapping[str, str | int]:
        """Return what is to be found: each is a model of its own."""
        return {"task": request.task}

    def check(self, bundle: Bundle) -> None:
        """Make sure of the stages, their tensors, the limit and what the model finds."""
        manifest = bundle.manifest
        if manifest.limits.get("max_points", 0) < 1:
            raise BundleError("task point needs max_points (manifest: limits)")
        if manifest.selector.get("task") not in FEWEST:
            raise BundleError(f"task point needs a task of {', '.join(FEWEST)} (manifest: selector)")
        for stage, expected in TENSORS.items():
            graph = manifest.stages.get(stage)
            if graph is None:
                raise BundleError(f"task point needs a stage {stage} (manifest: stages)")
            dims = {spec.name: spec.dims for spec in (*graph.inputs, *graph.outputs)}
            for name, axes in expected.items():
                if dims.get(name) != axes:
                    raise BundleError(
                        f"task point needs {name} {list(axes)}, the {stage} has {dims.get(name)}"
                    )

    def prepare(self, request: PointRequest, bundle: Bundle) -> Prepared:
        """Make ``points [points, 2]``, moved to the origin and scaled to the unit square, and ``kinds``."""
        task, count = request.task, len(request.points)
        if bundle.manifest.selector["task"] != task:
            raise InvalidRequest(
                f"model {bundle.manifest.name} finds a {bundle.manifest.selector['task']}, not a {task}",
                fields=["task", "model"],
            )
        limit = bundle.manifest.limits["max_points"]
        if count > limit:
            raise too_long("points", count, limit, "max_points", "points")
        if count < FEWEST[task]:
            raise InvalidRequest(
                f"points has {count} points, a {task} needs at least {FEWEST[task]}", fields=["points"]
            )
        points_P2, scale = _normalised(np.array(request.points, np.float64))
        warnings = _check_places(task, points_P2)
        stops = task != "tour"
        elements_E2 = points_P2.astype(np.float32)
        kinds_E = np.full(count, POINT_KIND, np.int64)
        if stops:
            elements_E2 = np.concatenate([np.zeros((1, 2), np.float32), elements_E2])
            kinds_E = np.concatenate([[STOP_KIND], kinds_E])
        arrays: dict[str, Array] = {"points": elements_E2, "kinds": kinds_E}
        context = _Context(request, points_P2, scale, stops, warnings)
        return Prepared(arrays, ("attention",), context, rows=request.beam_size)

    def begin(self, encoded: Mapping[str, Array], prepared: Prepared, bundle: Bundle) -> PointingSearch:
        """Return the search for one request."""
        context: _Context = prepared.context
        request, count = context.request, len(context.points_P2)
        most_steps = {"convex_hull": count + 1, "delaunay": max(4, 6 * count - 14), "tour": count}

        def length(path: Path) -> float:
            return tour_length(context.points_P2, list(path.choices))

        aim = Aim(most_steps[request.task], context.stops, length if request.task == "tour" else None)

        def word(path: Path) -> PointAnswer:
            return self._worded(path, context, bundle)

        return PointingSearch(aim, _constraint(context), request.beam_size, word)

    def _worded(self, path: Path, context: _Context, bundle: Bundle) -> PointAnswer:
        stops = context.stops
        places = [element - stops for element in path.choices if not (stops and element == 0)]
        request, warnings = context.request, list(context.warnings)
        valid, measures = _judged(places, context)
        indices: list[int | list[int]] = [*places]
        if request.task == "delaunay":
            indices = [places[start : start + 3] for start in range(0, len(places), 3)]
        return PointAnswer(
            indices=indices,
            valid=valid,
            score=float(np.exp(path.log_probability)),
            measures=measures,
            attention=self._attention(np.stack(path.rows), context, bundle, warnings),
            warnings=warnings,
        )

    def _attention(
        self, weights_SE: NDArray[np.float32], context: _Context, bundle: Bundle, warnings: list[str]
    ) -> Attention | None:
        form = context.request.attention
        if form == "none":
            return None
        if form == "full" and weights_SE.size > self._max_attention_weights:
            form = "top"
            warnings.append(
                f"attention has {weights_SE.size} weights, an answer carries {self._max_attention_weights} "
                "(ENGRAM_MAX_ATTENTION_WEIGHTS): only the largest of each step are given"
            )
        labels = [f"point {place}" for place in range(len(context.points_P2))]
        if context.stops:
            weights_SE = np.roll(weights_SE, -1, axis=1)
            labels.append("stop")
        names = {"step": [str(step + 1) for step in range(len(weights_SE))], "point": labels}
        spec = bundle.manifest.signature.attention
        return attend(spec, weights_SE, names, form=form, top_k=context.request.attention_top_k)


def _normalised(points_P2: Points) -> tuple[Points, float]:
    """Move the middle of the points to 0 and scale their larger extent to 1; return the scale as well.

    In float64, because points far from the origin would lose what tells them apart in float32.
    """
    lowest, highest = points_P2.min(axis=0), points_P2.max(axis=0)
    scale = float((highest - lowest).max()) or 1.0
    return (points_P2 - (lowest + highest) / 2) / scale, scale


def _check_places(task: str, points_P2: Points) -> list[str]:
    """Refuse points that have no such answer; return warnings about points at the same place.

    Raises:
        InvalidRequest: all points are on one line, or a triangulation has two at the same place.
    """
    _, first_U, inverse_P = np.unique(points_P2, axis=0, return_index=True, return_inverse=True)
    same_P = first_U[inverse_P.ravel()]
    doubles = np.flatnonzero(same_P != np.arange(len(points_P2))).tolist()
    if task == "delaunay" and doubles:
        pairs = ", ".join(f"{same_P[place]} and {place}" for place in doubles[:5])
        raise InvalidRequest(
            f"points at the same place have no triangulation: {pairs}",
            fields=[f"points[{place}]" for place in doubles],
        )
    if task != "tour" and len(convex_hull(points_P2)) < 3:
        raise InvalidRequest(f"all points are on one line: they have no {task}", fields=["points"])
    if not doubles:
        return []
    return [f"{len(doubles)} points are at the place of another one, the first of them point {doubles[0]}"]


def _constraint(context: _Context) -> Constraint:
    if context.request.constrained and context.request.task == "convex_hull":
        return ConvexPolygon(context.points_P2)
    if context.request.constrained and context.request.task == "delaunay":
        return Triangulation.of(context.points_P2)
    return Anything(len(context.points_P2) + context.stops)


def _judged(places: list[int], context: _Context) -> tuple[bool, Measures]:
    """Say whether an answer is valid, and measure it."""
    points_P2, task = context.points_P2, context.request.task
    if task == "tour":
        valid = sorted(places) == list(range(len(points_P2)))
        heuristic = tour_length(points_P2, simple_tour(points_P2))
        lengths = (tour_length(points_P2, places) * context.scale, heuristic * context.scale)
        return valid, Measures(length=lengths[0], heuristic_length=lengths[1])
    hull_area = polygon_area(points_P2[convex_hull(points_P2)])
    if task == "convex_hull":
        valid = is_simple(points_P2[places]) and polygon_area(points_P2[places]) > 0
        return valid, Measures(area_coverage=polygon_area(points_P2[places]) / hull_area if valid else 0.0)
    return _judged_triangles(places, points_P2, hull_area)


def _judged_triangles(places: list[int], points_P2: Points, hull_area: float) -> tuple[bool, Measures]:
    """Compare triangles with the Delaunay triangulation; the last one may be unfinished."""
    triangles = [frozenset(places[start : start + 3]) for start in range(0, len(places) - 2, 3)]
    found = delaunay(points_P2) & set(triangles)
    coverage = min(1.0, len(found) / triangle_count(points_P2))
    proper = len(places) % 3 == 0 and all(len(triangle) == 3 for triangle in triangles)
    areas = [abs(polygon_area(points_P2[sorted(triangle)])) for triangle in set(triangles)]
    tiles = proper and len(set(triangles)) == len(triangles) and _tile(triangles, points_P2)
    valid = tiles and abs(sum(areas) - hull_area) <= 1e-9 * max(1.0, hull_area)
    return valid, Measures(triangle_coverage=coverage)


def _tile(triangles: list[frozenset[int]], points_P2: Points) -> bool:
    """Tell whether no two triangles overlap."""
    constraint = Triangulation.of(points_P2)
    for triangle in triangles:
        for place in triangle:
            if not constraint.allowed()[place + 1]:
                return False
            constraint = constraint.follow(place + 1)
    return True
