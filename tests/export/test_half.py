"""Weights rounded to float16 once, and stored so wherever that loses nothing."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from export.graphs import graphs_of
from export.half import SMALLEST, STORED, halved, is_rounded, rounded
from export.samples import random_requests
from export.verification import verify
from export.wrappers import EagerSession
from export.writing import CHECKPOINT, Label, write_bundle
from models.checkpoint import load_checkpoint
from server.contract.tensors import join
from server.runtime.onnx_session import OnnxSession
from tests.export.small import engram_export, quiet

SIZES = {"facts": 5, "words": 4, "question_words": 3}


@pytest.fixture(scope="module")
def half_bundle(checkpoint, forms, tmp_path_factory):
    """The small network as a rounded bundle; its graph is the one that is exported for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("export.forms.to_onnx", lambda graph: forms["model"])
        patch.setattr("export.parity.BATCHES", (1, 2))
        patch.setattr("export.parity.MOST_CELLS", 300)
        folder = tmp_path_factory.mktemp("half")
        return write_bundle(checkpoint, folder, Label("half"), quiet, torchscript=False, half=True)


def test_weights_are_rounded_once_and_keep_their_names(checkpoint):
    finer = {name: weight * 1.0001 for name, weight in checkpoint.weights.items()}
    half = rounded(replace(checkpoint, weights=finer))
    assert is_rounded(half)
    assert not is_rounded(checkpoint)
    for name, weight in half.weights.items():
        assert weight.dtype == torch.float16
        torch.testing.assert_close(weight.float(), finer[name], atol=1e-3, rtol=1e-3)
    for name, weight in rounded(half).weights.items():
        assert torch.equal(weight, half.weights[name])


def test_a_weight_beyond_float16_is_refused(checkpoint):
    name = next(iter(checkpoint.weights))
    large = {name: torch.full((2,), 1e6)}
    with pytest.raises(ValueError, match=f"{name} has values beyond the range of float16"):
        rounded(replace(checkpoint, weights=large))


def test_counts_and_masks_stay_what_they_are(checkpoint):
    weights = {"count": torch.tensor([3]), "mask": torch.tensor([True])}
    assert {one.dtype for one in rounded(replace(checkpoint, weights=weights)).weights.values()} == {
        torch.int64,
        torch.bool,
    }


def test_large_weights_of_the_graph_are_stored_as_float16(half_bundle):
    graph = onnx.load(half_bundle.path("model")).graph
    sizes = {tensor.name: (tensor.data_type, int(np.prod(tensor.dims))) for tensor in graph.initializer}
    stored = {name for name, (kind, _) in sizes.items() if kind == onnx.TensorProto.FLOAT16}
    assert stored
    assert all(name.endswith(STORED) and sizes[name][1] >= SMALLEST for name in stored)
    casts = [node for node in graph.node if node.op_type == "Cast" and node.input[0] in stored]
    assert len(casts) == len(stored)


def test_what_float16_does_not_hold_stays_as_it_is(bundle):
    model = onnx.load_from_string(bundle.read("1/model.onnx"))
    tensor = max(model.graph.initializer, key=lambda tensor: tensor.ByteSize())
    finer = onnx.numpy_helper.to_array(tensor) * np.float32(1.0001)
    tensor.CopyFrom(onnx.numpy_helper.from_array(finer, tensor.name))
    after = onnx.load_from_string(halved(model.SerializeToString())).graph
    [kept] = [one for one in after.initializer if one.name == tensor.name]
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(kept), finer)


def test_the_rounded_network_is_what_the_graph_computes(half_bundle, checkpoint):
    graph = graphs_of(rounded(checkpoint)).model
    requests = random_requests(graph, SIZES, 3, np.random.default_rng(2))
    batch = join(graph.signature.inputs, requests)
    own = OnnxSession(half_bundle.read("1/model.onnx")).run(batch, graph.outputs)
    for name, wanted in EagerSession(graph).run(batch, graph.outputs).items():
        np.testing.assert_allclose(own[name], wanted, atol=1e-5)


def test_storing_changes_no_bit_of_an_answer(half_bundle, bundle, graph):
    content = bundle.read("1/model.onnx")
    shorter = halved(content)
    requests = random_requests(graph, SIZES, 2, np.random.default_rng(2))
    batch = join(graph.signature.inputs, requests)
    own, wanted = (OnnxSession(one).run(batch, graph.outputs) for one in (shorter, content))
    for name in graph.outputs:
        np.testing.assert_array_equal(own[name], wanted[name])
    again = half_bundle.read("1/model.onnx")
    assert len(again) < 0.7 * len(content)


def test_the_bundle_is_whole_and_says_that_it_is_rounded(half_bundle):
    assert verify(half_bundle) == ["onnx"]
    assert half_bundle.manifest.training["weights"] == "rounded to float16 after training"


def test_a_rebuilt_bundle_stays_rounded(half_bundle, monkeypatch):
    asked = []

    def export_forms(graphs, torchscript, half, progress):
        asked.append(half)
        return {"model": half_bundle.read("1/model.onnx")}

    monkeypatch.setattr("export.writing.export_forms", export_forms)
    monkeypatch.setattr("export.parity.BATCHES", (1, 2))
    monkeypatch.setattr("export.parity.MOST_CELLS", 300)
    assert is_rounded(load_checkpoint(half_bundle.folder / CHECKPOINT))
    before = half_bundle.manifest
    result = engram_export("rebuild", half_bundle.folder)
    assert result.exit_code == 0, result.output
    assert asked == [True]
    after = json.loads((half_bundle.folder / "manifest.json").read_text())
    assert after["training"] == json.loads(before.model_dump_json())["training"]
