"""What the exported files are made of."""

import io
import json
import zipfile
from collections import Counter
from pathlib import Path

import onnx
import pytest
import torch

from export.forms import certify
from export.parity import BATCHES, AxesDiffer, NamesDiffer, ValuesDiffer, grid
from export.samples import EXAMPLE_BATCH, example
from export.to_onnx import OPSET, interface, to_onnx
from export.to_torchscript import input_names, to_torchscript
from export.wrappers import Graph, Graphs
from models.families import FAMILIES
from server.contract.manifest import GraphSpec, TensorSpec
from tests.export.small import quiet

ROOT = Path(__file__).parents[2]


def edited(content, edit):
    """Return an ONNX file with a change made to its graph."""
    model = onnx.load_from_string(content)
    edit(model.graph)
    return model.SerializeToString()


def test_every_recurrence_is_one_gru_node_and_nothing_loops(forms, checkpoint):
    nodes = onnx.load_from_string(forms["model"]).graph.node
    counts = Counter(node.op_type for node in nodes)
    assert counts["GRU"] == 3 + checkpoint.config["hops"]
    assert not {"Loop", "Scan", "If", "LSTM", "RNN"} & counts.keys()
    assert {node.domain for node in nodes} == {""}


def test_weights_enter_the_recurrences_ready_made(forms):
    graph = onnx.load_from_string(forms["model"]).graph
    constants = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "GRU":
            assert set(node.input[1:4]) <= constants


def test_the_onnx_file_uses_one_standard_opset(forms):
    model = onnx.load_from_string(forms["model"])
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OPSET)]


def test_no_form_tells_where_it_was_made(forms):
    contents = [forms["model"]]
    with zipfile.ZipFile(io.BytesIO(forms["torchscript"])) as archive:
        contents += [archive.read(name) for name in archive.namelist()]
    for content in contents:
        assert str(ROOT).encode() not in content
        assert b".py:" not in content


def test_names_and_axes_are_those_of_the_signature(forms, graph):
    found = interface(forms["model"])
    for port, spec in zip(
        (*found.inputs, *found.outputs),
        (*graph.signature.inputs, *graph.signature.outputs),
        strict=True,
    ):
        assert (port.name, port.datatype, port.dims) == (spec.name, spec.datatype, spec.dims)
    assert input_names(forms["torchscript"]) == graph.inputs


def test_the_traced_inputs_are_distinct_in_size_and_storage(graph):
    tensors = example(graph)
    sizes = {size for tensor in tensors for size in tensor.shape}
    axes = {dim for spec in graph.signature.inputs for dim in spec.dims}
    assert len(sizes) == len(axes)
    assert 1 not in sizes
    assert len({tensor.data_ptr() for tensor in tensors}) == len(tensors)


def test_the_grid_holds_one_and_the_limits_and_goes_beyond_the_example(graph):
    axes = grid(graph)
    assert axes["batch"] == list(BATCHES)
    assert max(BATCHES) > EXAMPLE_BATCH
    for axis, limit in graph.limits.items():
        assert {1, limit} <= set(axes[axis])
        assert max(axes[axis]) > max(size for tensor in example(graph) for size in tensor.shape)


def test_the_certificate_covers_every_output_of_both_forms(bundle, graph, checkpoint):
    certificate = json.loads(bundle.read(bundle.file("parity")))
    tolerance = FAMILIES[checkpoint.family].tolerance
    assert certificate["tolerance"] == tolerance
    assert certificate["grid"] == grid(graph)
    assert certificate["largest_difference"].keys() == {"onnx", "torchscript"}
    for distances in certificate["largest_difference"].values():
        for kind in ("from_reference", "alone_or_in_a_batch"):
            assert list(distances[kind]) == graph.outputs
            assert max(distances[kind].values()) <= tolerance


def test_a_renamed_output_is_caught_by_its_name(forms, graph):
    def rename(onnx_graph):
        for node in onnx_graph.node:
            node.output[:] = ["gates" if name == "attention" else name for name in node.output]
        next(value for value in onnx_graph.output if value.name == "attention").name = "gates"

    wanted = r"model, onnx: the outputs are .*gates FP32, expected .*attention FP32"
    with pytest.raises(NamesDiffer, match=wanted):
        certify(Graphs(graph), {"model": edited(forms["model"], rename)}, 1e-5, quiet)


def test_a_frozen_axis_is_caught_by_its_name(forms, graph):
    def freeze(onnx_graph):
        onnx_graph.input[0].type.tensor_type.shape.dim[1].dim_value = 3

    with pytest.raises(
        AxesDiffer, match=r"model, onnx: story_tokens has the axes \['batch', 3, 'words'\], expected"
    ):
        certify(Graphs(graph), {"model": edited(forms["model"], freeze)}, 1e-5, quiet)


def test_a_wrong_weight_is_caught_with_output_place_and_distance(forms, graph):
    def spoil(onnx_graph):
        weights = next(node.input[1] for node in onnx_graph.node if node.op_type == "GRU")
        tensor = next(tensor for tensor in onnx_graph.initializer if tensor.name == weights)
        values = onnx.numpy_helper.to_array(tensor).copy()
        values[0, 0] += 1
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, weights))

    with pytest.raises(
        ValuesDiffer,
        match=r"onnx, batch=1 facts=\d+ .*: \w+ is \S+ at \[batch 0, .*\] and eager torch gives .*"
        r": they differ by .*, the tolerance is 1e-05",
    ):
        certify(Graphs(graph), {"model": edited(forms["model"], spoil)}, 1e-5, quiet)


class AnyNumber(torch.nn.Module):
    """Takes its inputs as they come."""

    def forward(self, *tensors):
        return tensors[0] + 2 * tensors[1]


def test_a_module_may_take_any_number_of_inputs():
    names = ("first", "second")
    specs = [TensorSpec(name=name, datatype="FP32", dims=("batch", "places")) for name in (*names, "sum")]
    graph = Graph(AnyNumber().eval(), GraphSpec(inputs=specs[:2], outputs=specs[2:]), {"places": 5})
    content = to_onnx(graph)
    assert [(port.name, port.dims) for port in interface(content).inputs] == [
        (name, ("batch", "places")) for name in names
    ]
    assert len(input_names(to_torchscript(graph))) == len(names)
