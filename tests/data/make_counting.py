"""Writes ``counting-encoder.onnx`` and ``counting-step.onnx``: the arithmetic of ``tests.server.counting``.

Run it from the root in an environment that holds onnx: ``python -m tests.data.make_counting``.
"""

from pathlib import Path

from onnx import TensorProto, checker, helper

from tests.server.counting import CHOICES, ENCODER, MOST_DIGITS, STEP

INT = TensorProto.INT64


def integers(name, values, shape=None):
    return helper.make_tensor(name, INT, [len(values)] if shape is None else shape, values)


def encoder():
    constants = [integers("last", [-1]), integers("two", [2], []), integers("three", [3], [])]
    constants.append(integers("modulus", [97], []))
    nodes = [
        helper.make_node("Identity", ["numbers"], ["memory"]),
        helper.make_node("Add", ["numbers", "two"], ["factors"]),
        helper.make_node("ReduceSum", ["numbers", "last"], ["sum"], keepdims=0),
        helper.make_node("Mod", ["sum", "modulus"], ["total"]),
        helper.make_node("Mul", ["numbers", "three"], ["trail"]),
    ]
    return nodes, constants


def step():
    constants = [
        integers("last", [-1]),
        integers("modulus", [97], []),
        integers("places_factor", [2], []),
        integers("scores_modulus", [101], []),
        integers("ranks", range(1, CHOICES + 1), [1, CHOICES]),
        integers("table", range(MOST_DIGITS)),
    ]
    nodes = [
        helper.make_node("ReduceSum", ["digits", "last"], ["digit_sum"], keepdims=0),
        # A sum that is not in the table fails the run: the poison of the tests.
        helper.make_node("Gather", ["table", "digit_sum"], ["added"]),
        helper.make_node("ReduceSum", ["memory", "last"], ["memory_sum"], keepdims=0),
        helper.make_node("Add", ["total", "added"], ["partial"]),
        helper.make_node("Add", ["partial", "memory_sum"], ["whole"]),
        helper.make_node("Mod", ["whole", "modulus"], ["next_total"]),
        helper.make_node("Unsqueeze", ["next_total", "last"], ["total_column"]),
        helper.make_node("Add", ["trail", "memory"], ["longer"]),
        helper.make_node("Add", ["longer", "total_column"], ["next_trail"]),
        helper.make_node("Mul", ["total_column", "ranks"], ["ranked"]),
        helper.make_node("ReduceProd", ["factors", "last"], ["product"], keepdims=1),
        helper.make_node("Add", ["ranked", "product"], ["raised"]),
        helper.make_node("Mod", ["raised", "scores_modulus"], ["scores"]),
        helper.make_node("Mul", ["next_trail", "places_factor"], ["places"]),
    ]
    return nodes, constants


def model(name, stage, nodes, constants):
    inputs, outputs = (
        [helper.make_tensor_value_info(spec.name, INT, spec.dims) for spec in specs]
        for specs in (stage.inputs, stage.outputs)
    )
    graph = helper.make_graph(nodes, name, inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


if __name__ == "__main__":
    for name, stage, (nodes, constants) in (("encoder", ENCODER, encoder()), ("step", STEP, step())):
        made = model(name, stage, nodes, constants)
        checker.check_model(made, full_check=True)
        Path(__file__).with_name(f"counting-{name}.onnx").write_bytes(made.SerializeToString())
