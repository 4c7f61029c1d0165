import msgspec
import numpy as np
import pytest

from server.errors import BundleError, InputTooLong, InvalidRequest, RunError
from server.tasks.pointing import Pointing
from server.tasks.pointing_form import PointRequest
from tests.server.tasks.pointing_bundle import LIMIT, bundle, walk

SQUARE = [(0, 0), (1, 0), (1, 1), (0, 1)]
HOUSE = [(0.0, 0.0), (4.0, 0.0), (2.0, 1.0), (4.0, 3.0), (0.0, 3.0)]
CLOUD = [tuple(point) for point in np.random.default_rng(5).random((7, 2)).tolist()]


def prepared(task, points, limit=LIMIT):
    return Pointing().prepare(PointRequest(task, points), bundle(task, limit))


def level(count):
    return lambda step, history: [1] * count


def test_points_of_any_scale_become_the_same_arrays():
    near = prepared("tour", HOUSE).arrays["points"]
    far = prepared("tour", [(1e9 + 1e-3 * x, -1e9 + 1e-3 * y) for x, y in HOUSE]).arrays["points"]
    assert near.dtype == np.float32
    assert near.min() == -0.5
    assert near.max() == 0.5
    np.testing.assert_allclose(near, far, atol=1e-3)


def test_stop_comes_first_where_an_answer_has_no_fixed_length():
    assert prepared("convex_hull", HOUSE).arrays["kinds"].tolist() == [2, 1, 1, 1, 1, 1]
    assert prepared("tour", HOUSE).arrays["kinds"].tolist() == [1, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("task", "points", "fields"),
    [
        ("convex_hull", [(1, 1)], ["points"]),
        ("tour", [(1, 1)], ["points"]),
        ("convex_hull", [(0, 0), (1, 1), (2, 2), (3, 3)], ["points"]),
        ("delaunay", [(0, 0), (1, 0), (2, 0)], ["points"]),
        ("delaunay", [(0, 0), (1, 0), (0, 1), (1, 0), (0, 0)], ["points[3]", "points[4]"]),
        ("convex_hull", [(2, 2)] * 5, ["points"]),
    ],
    ids=["one point", "one city", "a slanted line", "a flat line", "doubles", "one place"],
)
def test_geometry_without_an_answer_is_refused(task, points, fields):
    with pytest.raises(InvalidRequest) as refusal:
        prepared(task, points)
    assert refusal.value.details["fields"] == fields


def test_too_many_points_are_refused_with_the_limit():
    with pytest.raises(InputTooLong, match="points has 10000 points, this model takes 12") as refusal:
        prepared("tour", [(x, x * x) for x in range(10_000)])
    assert refusal.value.details["knob"] == "max_points"


@pytest.mark.parametrize(
    "body",
    [
        b'{"task": "tour", "points": [[0, 0], [1]]}',
        b'{"task": "tour", "points": [[0, 0], [1, "a"]]}',
        b'{"task": "tour", "points": [[0, 0], [1, 1e200]]}',
        b'{"task": "circle", "points": []}',
    ],
    ids=["one coordinate", "a word", "beyond range", "unknown task"],
)
def test_bodies_of_another_form_are_no_requests(body):
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=PointRequest)


def test_a_model_of_another_task_is_refused():
    with pytest.raises(InvalidRequest, match="finds a tour, not a convex_hull"):
        Pointing().prepare(PointRequest("convex_hull", HOUSE), bundle("tour"))


def test_cities_at_one_place_are_a_warning():
    answer, _ = walk(PointRequest("tour", [(0, 0), (1, 0), (0, 0)]), level(3))
    assert answer.warnings == ["1 points are at the place of another one, the first of them point 2"]
    assert answer.valid


def test_two_cities_have_a_round_trip():
    answer, _ = walk(PointRequest("tour", [(0, 0), (3, 4)]), level(2))
    assert sorted(answer.indices) == [0, 1]
    assert answer.measures.length == pytest.approx(10)


def test_tour_visits_every_city_and_is_measured_in_the_units_of_the_request():
    answer, most = walk(PointRequest("tour", HOUSE, beam_size=120 // 2), level(5))
    assert sorted(answer.indices) == [0, 1, 2, 3, 4]
    assert answer.valid
    assert most > 1
    assert answer.measures.length == pytest.approx(answer.measures.heuristic_length)


def test_of_complete_tours_the_shortest_is_given():
    crossing = [0, 2, 1, 3]

    def wish(step, history):
        row = [1.0] * 4
        row[crossing[step]] = 2.0
        return row

    greedy, _ = walk(PointRequest("tour", SQUARE, beam_size=1), wish)
    beam, _ = walk(PointRequest("tour", SQUARE, beam_size=24), wish)
    assert greedy.indices == crossing
    assert beam.measures.length == pytest.approx(4)
    assert beam.score < greedy.score


def test_constrained_hull_is_convex_whatever_the_network_prefers():
    answer, _ = walk(PointRequest("convex_hull", CLOUD, beam_size=3), level(8))
    assert answer.valid
    assert 0 < answer.measures.area_coverage <= 1 + 1e-9


def test_free_hull_may_be_invalid_and_then_covers_nothing():
    bow_tie = [1, 3, 2, 4, 0]

    def wish(step, history):
        return [float(element == bow_tie[step]) + 1e-6 for element in range(5)]

    answer, _ = walk(PointRequest("convex_hull", SQUARE, beam_size=1, constrained=False), wish)
    assert answer.indices == [0, 2, 1, 3]
    assert not answer.valid
    assert answer.measures.area_coverage == 0


def test_hull_is_counter_clockwise_even_if_the_network_points_the_other_way():
    def clockwise(step, history):
        return [float(element == [1, 4, 3, 2, 0][min(step, 4)]) + 1e-6 for element in range(5)]

    answer, _ = walk(PointRequest("convex_hull", SQUARE, beam_size=2), clockwise)
    x, y = np.array(SQUARE)[answer.indices].T
    assert (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() > 0


def test_triangulation_covers_the_hull_without_overlap():
    answer, _ = walk(PointRequest("delaunay", CLOUD, beam_size=3), level(8), visit_once=False)
    assert answer.valid
    assert all(len(triangle) == 3 for triangle in answer.indices)
    assert 0 <= answer.measures.triangle_coverage <= 1


def test_free_triangulation_that_repeats_itself_is_invalid():
    def wish(step, history):
        return [float(element == [1, 2, 3, 1, 2, 3, 0][step]) for element in range(5)]

    answer, _ = walk(PointRequest("delaunay", SQUARE, beam_size=1, constrained=False), wish, visit_once=False)
    assert answer.indices == [[0, 1, 2], [0, 1, 2]]
    assert not answer.valid


def test_attention_has_a_row_for_each_step_and_the_stop_last():
    answer, _ = walk(PointRequest("convex_hull", SQUARE), level(5))
    attention = answer.attention
    assert attention.kind == "pointer"
    assert [axis.name for axis in attention.axes] == ["step", "point"]
    assert attention.axes[1].labels == ["point 0", "point 1", "point 2", "point 3", "stop"]
    assert attention.weights.shape == (len(answer.indices) + 1, 5)
    np.testing.assert_allclose(attention.weights.sum(axis=1), 1, rtol=1e-6)
    assert attention.weights[-1, -1] > 0


def test_attention_is_left_out_or_cut_as_asked():
    none, _ = walk(PointRequest("tour", HOUSE, attention="none"), level(5))
    assert none.attention is None
    top, _ = walk(PointRequest("tour", HOUSE, attention="top", attention_top_k=2), level(5))
    assert all(len(row) == 2 for row in top.attention.weights)


def test_score_is_the_probability_of_the_answer():
    answer, _ = walk(PointRequest("tour", SQUARE, beam_size=1), level(4))
    assert answer.score == pytest.approx(1 / 24)


def test_what_is_not_a_number_is_a_run_error():
    with pytest.raises(RunError):
        walk(PointRequest("tour", SQUARE), lambda step, history: [float("nan")] * 4)


@pytest.mark.parametrize("missing", ["limits", "selector", "encoder", "axes"])
def test_bundles_without_what_the_task_needs_are_refused(missing):
    model = bundle("tour")
    if missing in ("limits", "selector"):
        setattr(model.manifest, missing, {})
    elif missing == "encoder":
        del model.manifest.stages["encoder"]
    else:
        model.manifest.stages["step"] = model.manifest.stages["encoder"]
    with pytest.raises(BundleError):
        Pointing().check(model)


def test_each_task_has_a_model_of_its_own():
    assert Pointing().selector(PointRequest("delaunay", HOUSE)) == {"task": "delaunay"}
