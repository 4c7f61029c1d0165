"""Pointer networks as graphs: the walk of encoder, step and search over a small network, in eager torch."""

import numpy as np
import pytest

from export.measure_pointing import _cycle, _row, _triangles
from export.pointing import STOP_PLACE, pointing_graphs
from export.probes.pointing import probes
from export.wrappers import EagerSession
from models.data.geometry import Instances
from server.contract.tensors import join
from server.tasks.pointing_form import Measures, PointAnswer
from tests.export.small import small_pointer_network
from tests.server.tasks.pointing_bundle import bundle


@pytest.fixture(scope="module")
def graphs():
    return pointing_graphs(small_pointer_network())


def run(graph, batch):
    return EagerSession(graph).run(batch, graph.outputs)


def clouds(graph, *sizes):
    requests = graph.draw([{"points": size} for size in sizes], np.random.default_rng(1))
    return join(graph.signature.inputs, requests)


def test_greedy_answers_end_at_the_stop_and_visit_no_point_twice(graphs):
    outputs = run(graphs.model, clouds(graphs.model, 9, 5, 2))
    for row, length in zip(outputs["indices"].tolist(), outputs["lengths"].tolist(), strict=True):
        visited = row[:length]
        assert len(set(visited)) == length
        assert STOP_PLACE not in visited[:-1]
        assert set(row[length:]) <= {0}


def test_weights_sum_to_one_until_the_end_and_padding_gets_none(graphs):
    batch = clouds(graphs.model, 9, 5)
    outputs = run(graphs.model, batch)
    for weights, length, kinds in zip(outputs["attention"], outputs["lengths"], batch["kinds"], strict=True):
        np.testing.assert_allclose(weights[:length].sum(axis=1), 1, atol=1e-6)
        assert (weights[:, kinds == 0] == 0).all()


def test_scale_and_place_do_not_change_an_answer(graphs):
    batch = clouds(graphs.model, 8)
    moved = dict(batch) | {"points": 16 * batch["points"] + 64}
    first, second = run(graphs.model, batch), run(graphs.model, moved)
    np.testing.assert_array_equal(first["indices"], second["indices"])
    np.testing.assert_allclose(first["attention"], second["attention"], atol=1e-4)


def test_a_step_rules_out_what_was_chosen_and_hands_it_on(graphs):
    encoder, step = graphs.stages["encoder"], graphs.stages["step"]
    encoded = run(encoder, clouds(encoder, 6))
    state = {spec.name: encoded[spec.name] for spec in step.signature.inputs if spec.name != "choice"}
    outputs = run(step, state | {"choice": np.array([3])})
    assert outputs["attention"][0, 3] == 0
    assert not outputs["next_allowed"][0, 3]
    assert outputs["next_before"].tolist() == [3]


def test_probes_are_as_large_as_the_model_takes():
    sizes = [len(one["kinds"]) for one in probes(bundle("tour", 9))]
    assert sizes == [3, 4, 5, 8, 9]


def test_hulls_are_compared_up_to_rotation_and_triangles_up_to_order():
    assert _cycle([4, 1, 7]) == _cycle([1, 7, 4]) != _cycle([7, 1, 4])
    assert _triangles([0, 1, 2, 3, 2, 1]) == _triangles([1, 2, 3, 2, 0, 1])


def answer(indices, measures, valid=True):
    return PointAnswer(indices, valid, 0.5, measures)


def test_rows_count_exact_answers_coverage_and_invalid_ones():
    square = np.array([[[0, 0], [1, 0], [1, 1], [0, 1]]] * 2, np.float32)
    own = Instances(square, np.array([[0, 1, 2, 3]] * 2, np.int16))
    found = [
        answer([2, 3, 0, 1], Measures(area_coverage=1.0)),
        answer([0, 2, 1, 3], Measures(area_coverage=0.0), valid=False),
    ]
    assert _row("convex_hull", own, found) == {"exact %": 50.0, "area %": 50.0, "invalid %": 50.0}


def test_lengths_are_compared_with_the_optimum_of_the_same_instances():
    square = np.array([[[0, 0], [1, 0], [1, 1], [0, 1]]], np.float32)
    own = Instances(square, np.array([[0, 1, 2, 3]], np.int16))
    row = _row("tour", own, [answer([0, 1, 2, 3], Measures(length=4.0, heuristic_length=5.0))])
    assert row == {
        "exact %": 100.0,
        "length / optimum": 1.0,
        "2-opt / optimum": 1.25,
        "invalid %": 0.0,
    }
