"""Graphs that keep their large constants in one file: each once, read from memory and by other programs."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.sharing import SMALLEST_BYTES, WEIGHTS_FILE, shared
from server.contract.bundle import WEIGHTS
from server.errors import BundleError
from server.runtime.onnx_session import OnnxSession

LARGE = np.arange(SMALLEST_BYTES, dtype=np.float16).reshape(4, -1)
OTHER = (LARGE + 1).astype(np.float16)
SMALL = np.array([3], np.float16)


def graph(*constants):
    """The input plus each constant's first element."""
    nodes, total = [], "x"
    initializers = [numpy_helper.from_array(value, f"c{place}") for place, value in enumerate(constants)]
    initializers.append(numpy_helper.from_array(np.array(0), "first"))
    for place, value in enumerate(constants):
        shape = numpy_helper.from_array(np.array([value.size]), f"size{place}")
        initializers.append(shape)
        nodes += [
            helper.make_node("Reshape", [f"c{place}", f"size{place}"], [f"flat{place}"]),
            helper.make_node("Gather", [f"flat{place}", "first"], [f"value{place}"]),
            helper.make_node("Add", [total, f"value{place}"], [f"sum{place}"]),
        ]
        total = f"sum{place}"
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT16, ["n"]) for name in ("x", total)]
    made = helper.make_graph(nodes, "sum", ports[:1], ports[1:], initializers)
    opset = [helper.make_opsetid("", 20)]
    return helper.make_model(made, opset_imports=opset, ir_version=10).SerializeToString()


@pytest.fixture(scope="module")
def forms():
    return shared({"encoder": graph(LARGE, SMALL), "step": graph(OTHER, LARGE), "torchscript": b"script"})


def test_a_constant_of_several_graphs_is_stored_once(forms):
    assert len(forms[WEIGHTS]) == LARGE.nbytes + OTHER.nbytes
    assert len(forms["step"]) < LARGE.nbytes
    assert forms["torchscript"] == b"script"
    names = [tensor.name for tensor in onnx.load_from_string(forms["encoder"]).graph.initializer]
    assert names[:2] == ["c0", "c1"]


@pytest.mark.parametrize(("role", "added"), [("encoder", 3), ("step", 1)])
def test_a_graph_computes_as_before_from_the_weights_in_memory(forms, role, added):
    session = OnnxSession(forms[role], weights=(WEIGHTS_FILE, forms[WEIGHTS]))
    [output] = session.run({"x": np.array([5], np.float16)}, ["sum1"]).values()
    assert output.tolist() == [5 + added]


def test_another_program_finds_the_weights_beside_the_graph(forms, tmp_path):
    (tmp_path / "step.onnx").write_bytes(forms["step"])
    (tmp_path / WEIGHTS_FILE).write_bytes(forms[WEIGHTS])
    session = ort.InferenceSession(tmp_path / "step.onnx", providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.array([2], np.float16)})[0].tolist() == [3]


def test_weights_that_are_too_short_are_refused(forms):
    with pytest.raises(BundleError, match="cannot load"):
        OnnxSession(forms["step"], weights=(WEIGHTS_FILE, forms[WEIGHTS][:-1]))


def test_nothing_is_read_from_the_folder_one_stands_in(forms, tmp_path, monkeypatch):
    (tmp_path / WEIGHTS_FILE).write_bytes(forms[WEIGHTS])
    monkeypatch.chdir(tmp_path)
    session = OnnxSession(forms["step"], weights=(WEIGHTS_FILE, bytes(len(forms[WEIGHTS]))))
    [output] = session.run({"x": np.array([2], np.float16)}, ["sum1"]).values()
    assert output.tolist() == [2]
