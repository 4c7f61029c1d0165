import numpy as np
import pytest

from models.data.exact_tours import proven_tour
from models.data.geometry import SYMMETRIES, Drawing, canonical, load_instances, mirrored, solve
from models.data.tours import searched_tours, shortest_tours, solve_tours, tour_lengths


def draw(task, folder, counts=None, seed=1, **options):
    return load_instances(Drawing(task, counts or {5: 6, 7: 4}, seed, **options), folder=folder)


def brute_force(points):
    from itertools import permutations

    tours = np.array([(0, *rest) for rest in permutations(range(1, len(points)))])
    return min(tour_lengths(np.repeat(points[None], len(tours), axis=0), tours))


def test_dynamic_programme_finds_the_shortest_round_trip():
    points = np.random.default_rng(1).random((4, 7, 2))
    lengths = tour_lengths(points, shortest_tours(points))
    np.testing.assert_allclose(lengths, [brute_force(own) for own in points])


def test_integer_programme_proves_what_the_dynamic_programme_finds():
    points = np.random.default_rng(2).random((3, 11, 2))
    proven = np.stack([proven_tour(own) for own in points])
    np.testing.assert_allclose(tour_lengths(points, proven), tour_lengths(points, shortest_tours(points)))


def test_search_is_near_the_optimum_and_never_below():
    points = np.random.default_rng(3).random((30, 11, 2))
    best = tour_lengths(points, shortest_tours(points))
    found = tour_lengths(points, searched_tours(points, 10, np.random.default_rng(4)))
    assert (found >= best - 1e-9).all()
    assert found.mean() <= 1.002 * best.mean()


@pytest.mark.parametrize("count", [1, 2, 3, 13])
def test_every_number_of_cities_has_a_tour(count):
    points = np.random.default_rng(5).random((2, count, 2))
    tours = solve_tours(points, 2, np.random.default_rng(6))
    assert (np.sort(tours, axis=1) == np.arange(count)).all()


def test_same_drawing_gives_the_same_instances_from_the_cache_and_anew(tmp_path):
    made = draw("delaunay", tmp_path / "one")
    again, anew = draw("delaunay", tmp_path / "one"), draw("delaunay", tmp_path / "two")
    for size in made:
        for other in (again, anew):
            np.testing.assert_array_equal(made[size].points_CP2, other[size].points_CP2)
            np.testing.assert_array_equal(made[size].answers_CL, other[size].answers_CL)
    assert len(list((tmp_path / "one").iterdir())) == 1


def test_fewer_instances_are_the_first_of_more(tmp_path):
    few, many = draw("tour", tmp_path, {14: 2}), draw("tour", tmp_path, {14: 5})
    np.testing.assert_array_equal(few[14].points_CP2, many[14].points_CP2[:2])


@pytest.mark.slow
def test_processes_make_what_one_makes(tmp_path):
    drawing = Drawing("convex_hull", {5: 2100}, 3)
    one = load_instances(drawing, 1, folder=tmp_path / "one")
    two = load_instances(drawing, 2, folder=tmp_path / "two")
    np.testing.assert_array_equal(one[5].answers_CL, two[5].answers_CL)


def test_progress_counts_instances(tmp_path):
    told = []
    load_instances(Drawing("convex_hull", {4: 3, 5: 2}, 1), progress=told.append, folder=tmp_path)
    assert told == [3, 5]


def ranks(points):
    return points[..., 0].argsort(axis=1).argsort(axis=1)


@pytest.mark.parametrize("symmetry", range(SYMMETRIES))
def test_a_hull_is_taught_counter_clockwise_in_every_mirror(symmetry, tmp_path):
    own = draw("convex_hull", tmp_path)[7]
    points = mirrored(own.points_CP2, symmetry)
    answers = canonical("convex_hull", points, own.answers_CL, ranks(points))
    for at, padded, rank in zip(points.astype(float), answers, ranks(points), strict=True):
        answer = padded[padded >= 0]
        x, y = at[answer].T
        assert (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() > 0
        assert rank[answer[0]] == rank[answer].min()
        assert sorted(answer) == sorted(solve("convex_hull", at))


def test_a_tour_is_taught_one_way_whatever_way_it_was_found(tmp_path):
    own = draw("tour", tmp_path)[7]
    turned = np.roll(own.answers_CL[:, ::-1], 3, axis=1)
    one, other = (
        canonical("tour", own.points_CP2, way, ranks(own.points_CP2)) for way in (own.answers_CL, turned)
    )
    np.testing.assert_array_equal(one, other)


def test_triangles_come_in_fans_that_turn_left(tmp_path):
    own = draw("delaunay", tmp_path)[7]
    rank = ranks(own.points_CP2)
    answers = canonical("delaunay", own.points_CP2, own.answers_CL, rank)
    for at, answer, known, order in zip(own.points_CP2, answers, own.answers_CL, rank, strict=True):
        triples = answer[answer >= 0].reshape(-1, 3)
        expected = known[known >= 0].reshape(-1, 3).tolist()
        assert sorted(map(sorted, triples.tolist())) == sorted(map(sorted, expected))
        first = order[triples[:, 0]]
        assert (first == order[triples].min(axis=1)).all()
        assert (np.diff(first) >= 0).all()
        one, other = at[triples[:, 1]] - at[triples[:, 0]], at[triples[:, 2]] - at[triples[:, 0]]
        assert (one[:, 0] * other[:, 1] > one[:, 1] * other[:, 0]).all()
        same = triples[:-1, 0] == triples[1:, 0]
        assert (triples[:-1, 2] == triples[1:, 1])[same].all()
