"""Geometry of points in the plane: what answers of the task ``point`` are checked and measured with.

Exact and simple rather than fast: hulls of some thousand points, tours of a hundred, triangulations of a few
dozen. Everything is float64 numpy and knows nothing of models.

Legend: P points, C corners of a polygon, T triangles.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Places = NDArray[np.int64]
Flags = NDArray[np.bool_]

NEGLIGIBLE = 1e-12
"""Doubled areas up to here count as none: points are in the unit square, or nearly so."""


def doubled_areas(first: Points, second: Points, third: Points) -> Points:
    """Return twice the signed areas of triangles; positive where they turn counter-clockwise."""
    one, other = second - first, third - first
    areas: Points = one[..., 0] * other[..., 1] - one[..., 1] * other[..., 0]
    return areas


def convex_hull(points_P2: Points) -> list[int]:
    """Return the corners of the hull, counter-clockwise (Andrew 1979); fewer than 3 of points on a line."""
    order = np.lexsort((points_P2[:, 1], points_P2[:, 0])).tolist()
    rows = points_P2.tolist()

    def chain(places: list[int]) -> list[int]:
        kept: list[int] = []
        for place in places:
            x, y = rows[place]
            while len(kept) > 1:
                (ax, ay), (bx, by) = rows[kept[-2]], rows[kept[-1]]
                if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > NEGLIGIBLE:
                    break
                kept.pop()
            kept.append(place)
        return kept[:-1]

    corners = chain(order) + chain(order[::-1])
    return corners if len(corners) > 2 else corners[:2]


def polygon_area(corners_C2: Points) -> float:
    """Return the signed area of a polygon, positive counter-clockwise."""
    x_C, y_C = corners_C2[:, 0], corners_C2[:, 1]
    return float((x_C * np.roll(y_C, -1) - y_C * np.roll(x_C, -1)).sum() / 2)


def is_simple(corners_C2: Points) -> bool:
    """Tell whether a polygon has at least three corners and no two of its sides touch but in a corner."""
    count = len(corners_C2)
    if count < 3 or len(np.unique(corners_C2, axis=0)) < count:
        return False
    start_C12, end_C12 = corners_C2[:, None], np.roll(corners_C2, -1, axis=0)[:, None]
    start_1C2, end_1C2 = corners_C2[None], np.roll(corners_C2, -1, axis=0)[None]
    starts_apart = doubled_areas(start_C12, end_C12, start_1C2) * doubled_areas(start_C12, end_C12, end_1C2)
    ends_apart = doubled_areas(start_1C2, end_1C2, start_C12) * doubled_areas(start_1C2, end_1C2, end_C12)
    crossing_CC = (starts_apart <= 0) & (ends_apart <= 0)
    between = np.abs(np.subtract.outer(np.arange(count), np.arange(count)))
    crossing_CC &= (between > 1) & (between < count - 1)
    return not crossing_CC.any() and abs(polygon_area(corners_C2)) > NEGLIGIBLE


def tour_length(points_P2: Points, tour: list[int]) -> float:
    """Return the length of a round trip."""
    walked = points_P2[tour]
    return float(np.sqrt(((walked - np.roll(walked, -1, axis=0)) ** 2).sum(axis=1)).sum())


def simple_tour(points_P2: Points) -> list[int]:
    """Return a round trip by nearest neighbours, improved by 2-opt: what a model's tour is compared with."""
    away_PP = np.sqrt(((points_P2[:, None] - points_P2[None]) ** 2).sum(axis=-1))
    tour, left = [0], set(range(1, len(points_P2)))
    while left:
        tour.append(min(left, key=lambda place: (away_PP[tour[-1], place], place)))
        left.remove(tour[-1])
    improved: list[int] = _untangled(away_PP, np.array(tour)).tolist()
    return improved


def _untangled(away_PP: Points, tour_P: Places) -> Places:
    """Reverse the part of a round trip that gains most, until none gains anything."""
    count = len(tour_P)
    upper = np.triu_indices(count, 2)
    while count > 3:
        following_P = np.roll(tour_P, -1)
        steps_P = away_PP[tour_P, following_P]
        first, second = upper
        gain = steps_P[first] + steps_P[second]
        gain = gain - away_PP[tour_P[first], tour_P[second]]
        gain = gain - away_PP[following_P[first], following_P[second]]
        best = int(gain.argmax())
        if gain[best] <= NEGLIGIBLE:
            break
        start, end = int(first[best]) + 1, int(second[best]) + 1
        tour_P = np.concatenate([tour_P[:start], tour_P[start:end][::-1], tour_P[end:]])
    return tour_P


def all_triangles(points_P2: Points) -> Places:
    """Return all triples of points that are a triangle, each counter-clockwise, ``[T, 3]``."""
    triples_T3 = np.array(list(combinations(range(len(points_P2)), 3)), np.int64).reshape(-1, 3)
    areas_T = doubled_areas(*(points_P2[triples_T3[:, corner]] for corner in range(3)))
    triples_T3[areas_T < 0] = triples_T3[areas_T < 0][:, [0, 2, 1]]
    return triples_T3[np.abs(areas_T) > NEGLIGIBLE]


def is_empty(points_P2: Points, triangles_T3: Places) -> Flags:
    """Tell which triangles have no point inside or on a side, ``[T]``."""
    corners = [points_P2[triangles_T3[:, corner]][:, None] for corner in range(3)]
    inside_TP = np.ones((len(triangles_T3), len(points_P2)), bool)
    for corner in range(3):
        inside_TP &= doubled_areas(corners[corner], corners[(corner + 1) % 3], points_P2) >= -NEGLIGIBLE
    for corner in range(3):
        inside_TP[np.arange(len(triangles_T3)), triangles_T3[:, corner]] = False
    empty_T: Flags = np.logical_not(inside_TP.any(axis=1))
    return empty_T


def overlaps(points_P2: Points, triangles_T3: Places, other: Places) -> Flags:
    """Tell which triangles share area with another one, ``[T]``: no side of either has them on two sides."""
    own_T32: Points = points_P2[triangles_T3]
    other_32: Points = points_P2[other]
    apart_T = np.zeros(len(triangles_T3), bool)
    for corner in range(3):
        start_T2, end_T2 = own_T32[:, corner], own_T32[:, (corner + 1) % 3]
        beside_T3 = doubled_areas(start_T2[:, None], end_T2[:, None], other_32)
        apart_T |= (beside_T3 <= NEGLIGIBLE).all(axis=1)
        beside_T3 = doubled_areas(other_32[corner], other_32[(corner + 1) % 3], own_T32)
        apart_T |= (beside_T3 <= NEGLIGIBLE).all(axis=1)
    return ~apart_T


def triangle_count(points_P2: Points) -> int:
    """Return how many triangles every triangulation has: 2P - 2 less the points on the border (Euler)."""
    corners_C2 = points_P2[convex_hull(points_P2)]
    beside_CP = doubled_areas(corners_C2[:, None], np.roll(corners_C2, -1, axis=0)[:, None], points_P2)
    on_border = int((beside_CP <= NEGLIGIBLE).any(axis=0).sum())
    return 2 * len(points_P2) - 2 - on_border


def delaunay(points_P2: Points) -> set[frozenset[int]]:
    """Return the triangles whose circle through the corners has no point inside (Delaunay 1934).

    Where more than three points are on such a circle, all triangles among them.
    """
    triangles_T3 = all_triangles(points_P2)
    a, b, c = (points_P2[triangles_T3[:, corner]][:, None] - points_P2 for corner in range(3))
    squares = [(side**2).sum(axis=-1) for side in (a, b, c)]
    inside_TP = (
        squares[0] * (b[..., 0] * c[..., 1] - b[..., 1] * c[..., 0])
        - squares[1] * (a[..., 0] * c[..., 1] - a[..., 1] * c[..., 0])
        + squares[2] * (a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0])
    )
    found = triangles_T3[(inside_TP <= NEGLIGIBLE).all(axis=1)]
    return {frozenset(triangle) for triangle in found.tolist()}
