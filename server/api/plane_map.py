"""Points in the plane with what a model found among them: a line for each step, darker where it was surer."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot

import numpy as np

from server.api.drawing import Dot, Drawing, Line, Shape, Text, moved
from server.api.heat_map import FAINT, INK, MARGIN, Weights, colour
from server.tasks.pointing_form import PointAnswer

SIDE = 420
"""Width and height of the square in which the points lie."""

TOP = MARGIN + 84
MOST_NUMBERED = 60
HEAD = 9
"""Length of an arrow's head."""

Place = tuple[float, float]


def plane_map(
    points: Sequence[Place], answer: PointAnswer, weights_SE: Weights, heat_map: Drawing
) -> Drawing:
    """Put the points, and arrows between those that were chosen, to the left of a heat map.

    Args:
        points: as in the request; y grows upwards.
        answer: what was found.
        weights_SE: its attention, a row for each step.
        heat_map: of that attention.
    """
    places = _on_paper(points)
    shapes: list[Shape] = [*_ways(answer, places, weights_SE.max(axis=1).tolist()), *_dots(answer, places)]
    beside = SIDE + MARGIN
    for shape in heat_map.shapes:
        head = isinstance(shape, Text) and shape.y < MARGIN + 50
        shapes.append(shape if head else moved(shape, beside))
    height = max(heat_map.height, TOP + SIDE + MARGIN)
    return Drawing(heat_map.width + beside, height, heat_map.title, shapes)


def _on_paper(points: Sequence[Place]) -> list[Place]:
    """Scale points into the square, both axes alike, y upwards."""
    at = np.array(points, np.float64)
    lowest, highest = at.min(axis=0), at.max(axis=0)
    extent = float((highest - lowest).max()) or 1.0
    inside = (at - (lowest + highest) / 2) / extent * (SIDE - 48)
    middle_x, middle_y = MARGIN + SIDE / 2, TOP + SIDE / 2
    return [(round(middle_x + x, 1), round(middle_y - y, 1)) for x, y in inside.tolist()]


def _ways(answer: PointAnswer, places: list[Place], sureness: list[float]) -> list[Shape]:
    """Draw the sides of triangles, or arrows from choice to choice and back to the first."""
    shapes: list[Shape] = []
    step = 0
    for part in answer.indices:
        if isinstance(part, list):
            for corner, place in enumerate(part):
                ends = places[place], places[part[corner - len(part) + 1]]
                shapes.append(_line(*ends, sureness[step], f"step {step + 1}: point {place}"))
                step += 1
    if shapes:
        return shapes
    flat = [part for part in answer.indices if isinstance(part, int)]
    for step, place in enumerate(flat):
        before = flat[step - 1]
        tip = f"step {step + 1}: point {before} to point {place}, {sureness[step]:.4f}"
        shapes += _arrow(places[before], places[place], sureness[step], tip)
    return shapes


def _line(start: Place, end: Place, share: float, tip: str) -> Line:
    return Line(*start, *end, colour(0.3 + 0.7 * share), 2, tip)


def _arrow(start: Place, end: Place, share: float, tip: str) -> list[Shape]:
    length = hypot(end[0] - start[0], end[1] - start[1])
    if length == 0:
        return []
    along_x, along_y = (end[0] - start[0]) / length, (end[1] - start[1]) / length
    tip_x, tip_y = end[0] - 6 * along_x, end[1] - 6 * along_y
    sides = [
        (
            round(tip_x - HEAD * (along_x - turn * along_y / 2), 1),
            round(tip_y - HEAD * (along_y + turn * along_x / 2), 1),
        )
        for turn in (-1, 1)
    ]
    head = (round(tip_x, 1), round(tip_y, 1))
    return [_line(start, head, share, tip), *(_line(side, head, share, "") for side in sides)]


def _dots(answer: PointAnswer, places: list[Place]) -> list[Shape]:
    chosen = set(np.ravel(answer.indices).tolist())
    shapes: list[Shape] = []
    for number, (x, y) in enumerate(places):
        fill = INK if number in chosen else "#b6bec7"
        shapes.append(Dot(x, y, 4, fill, f"point {number}"))
        if len(places) <= MOST_NUMBERED:
            shapes.append(Text(x + 7, y - 9, str(number), 11, fill=FAINT))
    return shapes
