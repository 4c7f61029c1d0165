import numpy as np
import pytest

from server.tasks.plane import (
    all_triangles,
    convex_hull,
    delaunay,
    is_empty,
    is_simple,
    overlaps,
    polygon_area,
    simple_tour,
    tour_length,
    triangle_count,
)

SQUARE = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
WITH_MIDDLE = np.vstack([SQUARE, [[0.4, 0.6]]])


def test_hull_goes_counter_clockwise_and_leaves_inner_points_out():
    corners = convex_hull(WITH_MIDDLE)
    assert sorted(corners) == [0, 1, 2, 3]
    assert polygon_area(WITH_MIDDLE[corners]) == 1.0


def test_points_on_a_side_are_no_corners():
    assert sorted(convex_hull(np.vstack([SQUARE, [[0.5, 0.0]]]))) == [0, 1, 2, 3]


def test_points_on_a_line_have_no_hull():
    assert len(convex_hull(np.array([[0.0, 0], [1, 1], [2, 2], [0.5, 0.5]]))) < 3


@pytest.mark.parametrize("count", [3, 17, 60])
def test_hull_holds_every_point(count):
    points = np.random.default_rng(count).random((count, 2))
    corners = points[convex_hull(points)]
    sides = np.roll(corners, -1, axis=0) - corners
    away = points[:, None] - corners
    assert (sides[:, 0] * away[..., 1] - sides[:, 1] * away[..., 0] >= -1e-9).all()


@pytest.mark.parametrize(
    ("order", "simple"),
    [([0, 1, 2, 3], True), ([0, 2, 1, 3], False), ([0, 1], False), ([0, 1, 2, 0], False)],
    ids=["square", "bow tie", "two corners", "a corner twice"],
)
def test_simple_polygons_do_not_cross_themselves(order, simple):
    assert is_simple(SQUARE[order]) is simple


def test_two_opt_untangles_a_crossing():
    assert tour_length(SQUARE, simple_tour(SQUARE)) == pytest.approx(4)
    points = np.random.default_rng(1).random((30, 2))
    tour = simple_tour(points)
    assert sorted(tour) == list(range(30))
    for first in range(30):
        for last in range(first + 1, 30):
            other = tour[:first] + tour[first : last + 1][::-1] + tour[last + 1 :]
            assert tour_length(points, other) >= tour_length(points, tour) - 1e-9


def test_triangulation_covers_the_hull_once():
    points = np.random.default_rng(2).random((9, 2))
    triangles = [sorted(triangle) for triangle in delaunay(points)]
    assert len(triangles) == triangle_count(points)
    areas = [abs(polygon_area(points[triangle])) for triangle in triangles]
    assert sum(areas) == pytest.approx(polygon_area(points[convex_hull(points)]))


def test_co_circular_points_have_all_their_triangles():
    assert len(delaunay(SQUARE)) == 4
    assert triangle_count(SQUARE) == 2


def test_triangles_with_a_point_inside_are_not_empty():
    triangles = all_triangles(WITH_MIDDLE)
    empty = {frozenset(one) for one in triangles[is_empty(WITH_MIDDLE, triangles)].tolist()}
    assert frozenset((0, 2, 3)) not in empty
    assert {frozenset((0, 1, 4)), frozenset((2, 3, 4))} <= empty


def test_triangles_that_share_a_side_do_not_overlap():
    triangles = np.array([[0, 1, 2], [0, 2, 3], [1, 2, 3]])
    assert overlaps(SQUARE, triangles, triangles[0]).tolist() == [True, False, True]
