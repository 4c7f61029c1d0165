"""What every family inherits: its graphs keep to their signatures, and padding and mates change nothing.

Nothing is exported here but in the tests marked slow, which make a whole bundle of every family.
"""

from functools import cache

import numpy as np
import pytest
import torch

from export.graphs import GRAPHS, graphs_of
from export.probes import PROBES
from export.samples import draw, random_requests
from export.verification import verify
from export.wrappers import EagerSession
from export.writing import Label, write_bundle
from models.families import FAMILIES
from models.learners import LEARNING
from models.learning import DataChoice
from models.presets import load_preset
from models.training import TrainingOptions
from server.contract.manifest import NEXT, Manifest
from server.contract.tensors import DTYPES, join, sizes_of, split
from tests.export.small import quiet

MOST = 6
"""Axes are tried up to this size, or up to their limit."""


@cache
def checkpoint_of(family):
    """Make an untrained network as ``tiny`` would begin with it, rounded as a lean bundle has it."""
    torch.manual_seed(1)
    learning = LEARNING[FAMILIES[family].task]
    plan = learning.plan(family, load_preset(family, "tiny", ()), DataChoice(), TrainingOptions())
    training = {"options": plan.options, "selection": plan.selection, "data": plan.records}
    return plan.recipe.checkpoint(plan.recipe.network().eval(), training, {})


@pytest.fixture(params=GRAPHS)
def family(request):
    return request.param


@pytest.fixture
def graphs(family):
    return graphs_of(checkpoint_of(family))


def every(graphs):
    """Return the different graphs by role."""
    return {"model": graphs.model, **graphs.stages}


def small(graph):
    return {axis: min(MOST + place, limit) for place, (axis, limit) in enumerate(graph.limits.items())}


def answers(graph, requests):
    specs = graph.signature
    outputs = EagerSession(graph).run(join(specs.inputs, requests), graph.outputs)
    return split(specs.outputs, outputs, [sizes_of(specs.inputs, one) for one in requests])


def test_every_family_with_a_task_that_is_served_can_be_exported():
    assert GRAPHS.keys() <= FAMILIES.keys()
    assert {FAMILIES[family].task for family in GRAPHS} == PROBES.keys()


def test_random_requests_are_what_the_graphs_take(graphs):
    for graph in every(graphs).values():
        sizes = small(graph)
        for request in draw(graph, [sizes, dict.fromkeys(sizes, 2)], np.random.default_rng(0)):
            for spec in graph.signature.inputs:
                assert request[spec.name].dtype == DTYPES[spec.datatype], spec.name
        assert sizes_of(graph.signature.inputs, draw(graph, [sizes], np.random.default_rng(1))[0]) == sizes


def test_outputs_have_the_axes_and_types_of_the_signature(graphs):
    for graph in every(graphs).values():
        requests = random_requests(graph, small(graph), 3, np.random.default_rng(2))
        batch = join(graph.signature.inputs, requests)
        sizes = {"batch": 3, **small(graph)}
        outputs = EagerSession(graph).run(batch, graph.outputs)
        for spec in graph.signature.outputs:
            shape = outputs[spec.name].shape
            known = tuple(sizes.setdefault(dim, own) for dim, own in zip(spec.dims, shape, strict=True))
            assert shape == known
            assert outputs[spec.name].dtype == DTYPES[spec.datatype]
            assert np.isfinite(outputs[spec.name].astype(float)).all()


def test_a_request_is_answered_alike_alone_and_in_a_padded_batch(graphs):
    for graph in every(graphs).values():
        requests = random_requests(graph, small(graph), 4, np.random.default_rng(3))
        for request, together in zip(requests, answers(graph, requests), strict=True):
            [alone] = answers(graph, [request])
            for name, value in alone.items():
                part = together[name][tuple(map(slice, value.shape))]
                np.testing.assert_allclose(part, value, atol=1e-5, err_msg=name)


def test_attention_sums_to_one_over_its_axis(graphs):
    spec = graphs.model.signature.attention
    requests = random_requests(graphs.model, small(graphs.model), 2, np.random.default_rng(4))
    weights = answers(graphs.model, requests)[0][spec.output]
    assert weights.ndim == len(spec.axes)
    assert (weights >= 0).all()
    if spec.normalized_over is not None:
        sums = weights.sum(axis=spec.axes.index(spec.normalized_over))
        np.testing.assert_allclose(sums[sums > 0], 1, atol=1e-5)
        assert sums.any()


def test_every_state_comes_back_as_it_went_in(graphs):
    for graph in every(graphs).values():
        inputs = {spec.name: spec for spec in graph.signature.inputs}
        for spec in graph.signature.outputs:
            if spec.name.startswith(NEXT):
                taken = inputs[spec.name.removeprefix(NEXT)]
                assert (spec.datatype, spec.dims) == (taken.datatype, taken.dims)


@pytest.mark.slow
def test_a_bundle_of_every_family_passes_the_checks_of_a_server(family, tmp_path, monkeypatch):
    monkeypatch.setattr("export.parity.BATCHES", (1, 3))
    monkeypatch.setattr("export.parity.MOST_CELLS", 2000)
    lean = write_bundle(checkpoint_of(family), tmp_path, Label("lean"), quiet, torchscript=False, half=True)
    assert isinstance(lean.manifest, Manifest)
    assert verify(lean) == ["onnx"]
