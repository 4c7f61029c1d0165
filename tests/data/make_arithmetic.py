"""Writes ``arithmetic.onnx``: the sums of ``tests.server.fakes.arithmetic`` as a graph.

Run it from the root in an environment that holds onnx: ``python -m tests.data.make_arithmetic``.
"""

from pathlib import Path

from onnx import TensorProto, checker, helper

from tests.server.fakes import ANSWERS, HOPS

INT, FLOAT = TensorProto.INT64, TensorProto.FLOAT


def make_graph():
    answers, hops = len(ANSWERS), HOPS
    constants = [
        helper.make_tensor("last", INT, [1], [-1]),
        helper.make_tensor("middle", INT, [1], [1]),
        helper.make_tensor("modulus", INT, [], [answers]),
        helper.make_tensor("one", FLOAT, [], [1.0]),
        helper.make_tensor("total", FLOAT, [], [answers * (answers + 1) / 2]),
        helper.make_tensor("powers", FLOAT, [1, hops, 1], [float(hop + 1) for hop in range(hops)]),
        helper.make_tensor(
            "shifts", INT, [1, hops, answers], [a + hop for hop in range(hops) for a in range(answers)]
        ),
        helper.make_tensor("final", INT, [], [hops - 1]),
    ]
    nodes = [
        helper.make_node("ReduceSum", ["story_tokens", "last"], ["facts"], keepdims=0),
        helper.make_node("Unsqueeze", ["facts", "middle"], ["facts_row"]),
        helper.make_node("Cast", ["facts_row"], ["facts_float"], to=FLOAT),
        helper.make_node("Pow", ["facts_float", "powers"], ["raised"]),
        helper.make_node("ReduceSum", ["raised", "last"], ["raised_total"], keepdims=1),
        helper.make_node("Div", ["raised", "raised_total"], ["attention"]),
        helper.make_node("ReduceSum", ["question_tokens", "last"], ["question"], keepdims=1),
        helper.make_node("Unsqueeze", ["question", "middle"], ["question_row"]),
        helper.make_node("Add", ["question_row", "shifts"], ["shifted"]),
        helper.make_node("Mod", ["shifted", "modulus"], ["rank"]),
        helper.make_node("Cast", ["rank"], ["rank_float"], to=FLOAT),
        helper.make_node("Add", ["rank_float", "one"], ["weight"]),
        helper.make_node("Div", ["weight", "total"], ["hop_probabilities"]),
        helper.make_node("Gather", ["hop_probabilities", "final"], ["answer_probabilities"], axis=1),
    ]
    inputs = [
        helper.make_tensor_value_info("story_tokens", INT, ["batch", "facts", "words"]),
        helper.make_tensor_value_info("question_tokens", INT, ["batch", "question_words"]),
    ]
    outputs = [
        helper.make_tensor_value_info("answer_probabilities", FLOAT, ["batch", answers]),
        helper.make_tensor_value_info("hop_probabilities", FLOAT, ["batch", hops, answers]),
        helper.make_tensor_value_info("attention", FLOAT, ["batch", hops, "facts"]),
    ]
    graph = helper.make_graph(nodes, "arithmetic", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


if __name__ == "__main__":
    model = make_graph()
    checker.check_model(model, full_check=True)
    Path(__file__).with_name("arithmetic.onnx").write_bytes(model.SerializeToString())
