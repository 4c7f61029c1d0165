"""Each stage of the comparison catches its own kind of wrong form."""

from itertools import islice

import numpy as np
import pytest
import torch

from export.parity import (
    MOST_CELLS,
    BatchMatters,
    Case,
    Comparison,
    ShapesDiffer,
    ValuesDiffer,
    cases,
    compare_values,
    grid,
)
from export.samples import random_requests
from export.wrappers import EagerSession
from server.contract.tensors import join, sizes_of
from server.errors import RunError

TOLERANCE = 1e-5
OUTPUTS = ("answer_probabilities", "hop_probabilities", "attention")
SILENCE = dict.fromkeys(OUTPUTS, 0.0)


class Spoiled:
    """Eager torch with one thing done to its outputs."""

    runtime, device = "eager", "cpu"

    def __init__(self, graph, spoil):
        self.session = EagerSession(graph)
        self.spoil = spoil

    def run(self, inputs, outputs):
        return self.spoil(inputs, self.session.run(inputs, outputs))

    def close(self):
        self.session.close()


@pytest.fixture
def case(graph):
    sizes = {"facts": 5, "words": 4, "question_words": 3}
    requests = random_requests(graph, sizes, 3, np.random.default_rng(7))
    return Case({"batch": 3, **sizes}, requests)


def check(graph, case, spoil, noise=SILENCE):
    batch = join(graph.signature.inputs, case.requests)
    expected = EagerSession(graph).run(batch, graph.outputs)
    Comparison("form", Spoiled(graph, spoil), graph, TOLERANCE).check(case, batch, expected, noise)


def test_the_network_itself_passes(graph, case):
    check(graph, case, lambda inputs, outputs: outputs)


def test_a_missing_axis_is_caught(graph, case):
    with pytest.raises(ShapesDiffer, match=r"form, batch=3 facts=5 .*: attention is float32 \[3, \d, 4\]"):
        check(graph, case, lambda inputs, outputs: outputs | {"attention": outputs["attention"][..., :-1]})


def test_another_type_is_caught(graph, case):
    with pytest.raises(ShapesDiffer, match="attention is float64"):
        check(
            graph, case, lambda inputs, outputs: outputs | {"attention": outputs["attention"].astype(float)}
        )


def test_a_graph_that_takes_only_the_size_it_was_traced_with_is_caught(graph, case):
    def frozen(inputs, outputs):
        raise RunError("the graph failed on this input")

    with pytest.raises(ShapesDiffer, match="the graph takes no batch of these sizes"):
        check(graph, case, frozen)


@pytest.mark.parametrize("wrong", [1e-3, np.nan], ids=["shifted", "not-a-number"])
def test_a_wrong_value_is_caught_with_its_place(graph, case, wrong):
    def spoil(inputs, outputs):
        attention = outputs["attention"].copy()
        attention[2, 1, 4] += wrong
        return outputs | {"attention": attention}

    with pytest.raises(ValuesDiffer, match=r"attention is .* at \[batch 2, 1, facts 4\]"):
        check(graph, case, spoil)


def test_rounding_noise_of_the_network_is_granted_and_no_more(graph, case):
    def spoil(inputs, outputs):
        return outputs | {"attention": outputs["attention"] + np.float32(3e-5)}

    check(graph, case, spoil, SILENCE | {"attention": 1e-5})
    with pytest.raises(ValuesDiffer, match="the rounding noise 4e-06"):
        check(graph, case, spoil, SILENCE | {"attention": 4e-6})


def test_an_answer_that_depends_on_its_batch_is_caught(graph, case):
    def spoil(inputs, outputs):
        if len(inputs["story_tokens"]) == 1:
            outputs["attention"] = outputs["attention"] + np.float32(2e-5)
        return outputs

    with pytest.raises(BatchMatters, match=r"request \d: attention alone and in the batch differ by 2e-05"):
        check(graph, case, spoil)


def test_the_largest_differences_are_kept_by_form_and_output(graph, monkeypatch):
    monkeypatch.setattr("export.parity.cases", lambda graph: islice(cases(graph), 3))
    seen = []
    session = Spoiled(
        graph, lambda inputs, outputs: outputs | {"attention": outputs["attention"] + np.float32(5e-6)}
    )
    exact = EagerSession(graph, torch.float64)
    comparisons, noise = compare_values(
        graph, EagerSession(graph), exact, {"form": session}, TOLERANCE, each_case=seen.append
    )
    comparison = comparisons["form"]
    assert 0 < max(noise[name] for name in OUTPUTS) < 1e-5
    assert seen == [1, 2, 3]
    assert comparison.values["attention"] == pytest.approx(5e-6, rel=0.1)
    assert comparison.values["answer_probabilities"] == 0


def test_cases_cover_every_size_of_every_axis(graph):
    found = [case.sizes for case in cases(graph)]
    for axis, sizes in grid(graph).items():
        assert {one[axis] for one in found} == set(sizes)
    assert {"batch": 1, **graph.limits} in found


def test_a_case_mixes_lengths_and_pads_inside_requests(graph):
    case = list(cases(graph))[-1]
    sizes = [sizes_of(graph.signature.inputs, request) for request in case.requests]
    assert sizes[0] == {axis: case.sizes[axis] for axis in graph.limits}
    assert len({tuple(own.values()) for own in sizes}) > 1
    for request, own in zip(case.requests, sizes, strict=True):
        assert own.keys() == graph.limits.keys()
        for array in request.values():
            assert (array[..., 0] != 0).all()
    assert (case.requests[0]["story_tokens"] == 0).any()


def test_large_batches_are_left_out(graph, monkeypatch):
    monkeypatch.setattr("export.parity.MOST_CELLS", 500)
    assert MOST_CELLS > 500
    for case in cases(graph):
        batch = join(graph.signature.inputs, case.requests)
        assert max(array.size for array in batch.values()) <= 500
