"""One loop over an exported step, in ONNX and in TorchScript."""

from collections import Counter

import numpy as np
import onnx
import pytest

from export.greedy import LENGTHS
from export.loops import greedy_loop
from export.samples import random_requests
from export.script_loops import scripted_loop
from export.to_onnx import OPSET, interface
from export.wrappers import EagerSession
from server.contract.tensors import join
from server.runtime.onnx_session import OnnxSession
from server.runtime.torchscript_session import TorchScriptSession
from tests.export.stepwise import END, MOST, stepwise_graphs

SIZES = {"source_tokens": 9}


@pytest.mark.parametrize(
    ("most", "end"),
    [("most_tokens", END), ("most_tokens", None), (MOST, END)],
    ids=["limit-and-end", "limit-alone", "a-number"],
)
@pytest.mark.parametrize("batch", [1, 2, 7])
def test_the_loop_decodes_what_eager_torch_decodes(stepwise, most, end, batch):
    _, forms = stepwise
    graphs = stepwise_graphs(most=most, end=end)
    graph = graphs.model
    content = greedy_loop(forms["encoder"], forms["step"], graph.signature, graphs.greedy, OPSET)
    requests = join(
        graph.signature.inputs, random_requests(graph, SIZES, batch, np.random.default_rng(batch))
    )
    wanted = EagerSession(graph).run(requests, graph.outputs)
    scripted = TorchScriptSession(scripted_loop(graphs), graph.signature)
    for session in (OnnxSession(content), scripted):
        own = session.run(requests, graph.outputs)
        for name in graph.outputs:
            assert own[name].dtype == wanted[name].dtype
            np.testing.assert_allclose(own[name], wanted[name], atol=1e-6)
        assert own["tokens"].shape[1] == own[LENGTHS].max()


def test_names_and_axes_of_the_loop_are_those_of_the_signature(stepwise):
    graphs, forms = stepwise
    found = interface(forms["model"])
    signature = graphs.model.signature
    assert [(port.name, port.datatype, port.dims) for port in (*found.inputs, *found.outputs)] == [
        (spec.name, spec.datatype, spec.dims) for spec in (*signature.inputs, *signature.outputs)
    ]


def test_the_loop_is_one_node_and_its_body_is_the_step(stepwise):
    _, forms = stepwise
    model, step = (onnx.load_from_string(forms[role]) for role in ("model", "step"))
    [loop] = [node for node in model.graph.node if node.op_type == "Loop"]
    body = Counter(node.op_type for node in loop.attribute[0].g.node)
    assert not Counter(node.op_type for node in step.graph.node) - body
    assert {node.domain for node in (*model.graph.node, *loop.attribute[0].g.node)} == {""}
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OPSET)]


def test_equal_constants_are_stored_once_and_outside_the_loop(stepwise):
    _, forms = stepwise
    graph = onnx.load_from_string(forms["model"]).graph
    values = [
        (tensor.data_type, tuple(tensor.dims), onnx.numpy_helper.to_array(tensor).tobytes())
        for tensor in graph.initializer
    ]
    assert len(set(values)) == len(values)
    [loop] = [node for node in graph.node if node.op_type == "Loop"]
    assert not loop.attribute[0].g.initializer
