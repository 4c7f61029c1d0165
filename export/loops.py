"""The whole graph of a stepwise family: its exported encoder, and one ONNX Loop over its exported step.

Nothing is traced here: the two files are put together node by node, so the loop computes exactly what the
server computes when it drives them. Constants of both lie in the outer graph, equal ones once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper
from onnx.compose import add_prefix_graph

from export.greedy import LENGTHS, SCORES
from export.wrappers import Greedy
from server.contract.manifest import NEXT, Signature, TensorSpec

ELEMENTS = {"INT64": TensorProto.INT64, "FP32": TensorProto.FLOAT, "BOOL": TensorProto.BOOL}
ENCODER, STEP, LOOP = "encoder.", "step.", "loop."
"""What the names of inner values begin with."""


def greedy_loop(encoder: bytes, step: bytes, signature: Signature, greedy: Greedy, opset: int) -> bytes:
    """Put an exported encoder and an exported step together to one graph that decodes greedily.

    Args:
        encoder: ONNX file.
        step: ONNX file; see ``greedy_graphs`` for how its names are wired up.
        signature: the whole graph's, as ``greedy_graphs`` makes it.
        greedy: how the step is driven.
        opset: of both files.
    """
    outer, body = _prefixed(encoder, ENCODER), _prefixed(step, STEP)
    _rename(outer, {ENCODER + spec.name: spec.name for spec in signature.inputs})
    encoded = {value.name.removeprefix(ENCODER) for value in outer.output}
    wired = _Wiring(body, encoded, greedy)
    constants = _constants(
        {
            "one": np.int64(1),
            "yes": np.bool_(True),
            "start": np.int64(greedy.start),
            "end": np.int64(-1 if greedy.end is None else greedy.end),
            "most": np.int64(0 if isinstance(greedy.most, str) else greedy.most),
            "none": np.int64(0),
            "nothing": np.float32(0),
            "no": np.bool_(False),
            "first_axis": np.array([0]),
            "second_axis": np.array([1]),
        }
    )
    nodes = [*outer.node, *_before(signature.inputs[0].name, greedy), *_loop(wired, signature, greedy)]
    initializers = [*outer.initializer, *body.initializer, *constants]
    whole = helper.make_graph(
        nodes,
        "model",
        [_value(spec) for spec in signature.inputs],
        [_value(spec) for spec in signature.outputs],
    )
    _keep_once(whole, initializers)
    model = helper.make_model(
        whole, opset_imports=[helper.make_opsetid("", opset)], producer_name="engram", ir_version=10
    )
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


class _Wiring:
    """What each input of the step is: a state (carried from step to step), the choice, or what stays."""

    def __init__(self, body: GraphProto, encoded: set[str], greedy: Greedy) -> None:
        self.body = body
        outputs = {value.name.removeprefix(STEP) for value in body.output}
        inputs = [value.name.removeprefix(STEP) for value in body.input]
        self.states = [name for name in inputs if NEXT + name in outputs]
        self.first = {name: ENCODER + name if name in encoded else name for name in inputs}
        staying = [name for name in inputs if name not in (*self.states, greedy.choice)]
        # A body sees the values around it: what stays needs no carrying.
        _rename(body, {STEP + name: self.first[name] for name in staying})


def _before(some_input: str, greedy: Greedy) -> list[NodeProto]:
    """Make what the loop starts from: the batch, everyone running, no step taken, the first choice."""
    nodes = [
        helper.make_node("Shape", [some_input], [LOOP + "batch"], start=0, end=1),
        helper.make_node("Expand", [LOOP + "start", LOOP + "batch"], [LOOP + "first_choice"]),
        helper.make_node("Expand", [LOOP + "yes", LOOP + "batch"], [LOOP + "all"]),
        helper.make_node("Expand", [LOOP + "none", LOOP + "batch"], [LOOP + "no_steps"]),
    ]
    most = ENCODER + greedy.most if isinstance(greedy.most, str) else LOOP + "most"
    return [*nodes, helper.make_node("Identity", [most], [LOOP + "limit"])]


def _loop(wired: _Wiring, signature: Signature, greedy: Greedy) -> list[NodeProto]:
    """Make the loop and turn what it stacked, steps first, to the batch first."""
    body, specs = wired.body, {spec.name: spec for spec in signature.outputs}
    values = {value.name: value for value in (*body.input, *body.output)}
    shown = {greedy.chosen: LOOP + "choice", SCORES: LOOP + "score"}
    shown |= {name: STEP + name for name in greedy.collected}
    nodes = [*body.node, *_choosing(greedy)]
    for name, value in shown.items():
        nodes += _hidden_when_ended(
            value, LOOP + name + ".kept", len(specs[name].dims) - 2, specs[name].datatype
        )
    carried = {STEP + greedy.choice: LOOP + "choice", LOOP + "running": LOOP + "next_running"}
    carried |= {LOOP + "steps": LOOP + "next_steps"}
    carried |= {STEP + name: STEP + NEXT + name for name in wired.states}
    batch = {
        STEP + greedy.choice: TensorProto.INT64,
        LOOP + "running": TensorProto.BOOL,
        LOOP + "steps": TensorProto.INT64,
        LOOP + "choice": TensorProto.INT64,
        LOOP + "next_running": TensorProto.BOOL,
        LOOP + "next_steps": TensorProto.INT64,
    }
    values |= {name: helper.make_tensor_value_info(name, kind, ["batch"]) for name, kind in batch.items()}
    stacked = [
        helper.make_tensor_value_info(
            LOOP + name + ".kept",
            ELEMENTS[specs[name].datatype],
            ["batch", *specs[name].dims[2:]],
        )
        for name in shown
    ]
    inner = helper.make_graph(
        nodes,
        "step",
        [
            helper.make_tensor_value_info(LOOP + "number", TensorProto.INT64, []),
            helper.make_tensor_value_info(LOOP + "going", TensorProto.BOOL, []),
            *(values[name] for name in carried),
        ],
        [
            helper.make_tensor_value_info(LOOP + "go_on", TensorProto.BOOL, []),
            *(values[name] for name in carried.values()),
            *stacked,
        ],
    )
    first = [
        LOOP + "first_choice",
        LOOP + "all",
        LOOP + "no_steps",
        *(wired.first[name] for name in wired.states),
    ]
    last = [LOOP + "last_choice", LOOP + "still_running", LENGTHS]
    last += [LOOP + "last." + name for name in wired.states]
    loop = helper.make_node(
        "Loop", ["", LOOP + "yes", *first], [*last, *(LOOP + name + ".stacked" for name in shown)], body=inner
    )
    turned = [
        helper.make_node(
            "Transpose",
            [LOOP + name + ".stacked"],
            [name],
            perm=[1, 0, *range(2, len(specs[name].dims))],
        )
        for name in shown
    ]
    return [loop, *turned]


def _choosing(greedy: Greedy) -> list[NodeProto]:
    """Choose, count the step, and see who goes on."""
    scores = STEP + greedy.scores
    nodes = [
        helper.make_node("ArgMax", [scores], [LOOP + "choice"], axis=1, keepdims=0),
        helper.make_node("ReduceMax", [scores, LOOP + "second_axis"], [LOOP + "score"], keepdims=0),
        helper.make_node("Cast", [LOOP + "running"], [LOOP + "taken"], to=TensorProto.INT64),
        helper.make_node("Add", [LOOP + "steps", LOOP + "taken"], [LOOP + "next_steps"]),
        helper.make_node("Less", [LOOP + "next_steps", LOOP + "limit"], [LOOP + "may_go_on"]),
        helper.make_node("And", [LOOP + "running", LOOP + "may_go_on"], [LOOP + "unfinished"]),
    ]
    if greedy.end is None:
        nodes.append(helper.make_node("Identity", [LOOP + "unfinished"], [LOOP + "next_running"]))
    else:
        nodes += [
            helper.make_node("Equal", [LOOP + "choice", LOOP + "end"], [LOOP + "at_end"]),
            helper.make_node("Not", [LOOP + "at_end"], [LOOP + "not_at_end"]),
            helper.make_node("And", [LOOP + "unfinished", LOOP + "not_at_end"], [LOOP + "next_running"]),
        ]
    return [
        *nodes,
        helper.make_node("Cast", [LOOP + "next_running"], [LOOP + "running_count"], to=TensorProto.INT64),
        helper.make_node("ReduceMax", [LOOP + "running_count"], [LOOP + "anyone"], keepdims=0),
        helper.make_node("Cast", [LOOP + "anyone"], [LOOP + "go_on"], to=TensorProto.BOOL),
    ]


def _hidden_when_ended(value: str, kept: str, more_axes: int, datatype: str) -> list[NodeProto]:
    """Put zeros where a row has ended before this step."""
    zero = LOOP + {"INT64": "none", "FP32": "nothing", "BOOL": "no"}[datatype]
    if not more_axes:
        return [helper.make_node("Where", [LOOP + "running", value, zero], [kept])]
    axes, wide = kept + ".axes", kept + ".running"
    return [
        helper.make_node("Constant", [], [axes], value_ints=list(range(1, 1 + more_axes))),
        helper.make_node("Unsqueeze", [LOOP + "running", axes], [wide]),
        helper.make_node("Where", [wide, value, zero], [kept]),
    ]


def _prefixed(content: bytes, prefix: str) -> GraphProto:
    return add_prefix_graph(onnx.load_from_string(content).graph, prefix)


def _rename(graph: GraphProto, names: Mapping[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _rename(attribute.g, names)


def _value(spec: TensorSpec) -> ValueInfoProto:
    return helper.make_tensor_value_info(spec.name, ELEMENTS[spec.datatype], list(spec.dims))


def _constants(values: Mapping[str, np.ndarray | np.generic]) -> list[TensorProto]:
    return [numpy_helper.from_array(np.asarray(value), LOOP + name) for name, value in values.items()]


def _keep_once(graph: GraphProto, initializers: Iterable[TensorProto]) -> None:
    """Add the initializers; of equal ones the first, under whose name the others are known from now on."""
    first: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    names: dict[str, str] = {}
    for tensor in initializers:
        key = (tensor.data_type, tuple(tensor.dims), numpy_helper.to_array(tensor).tobytes())
        names[tensor.name] = first.setdefault(key, tensor.name)
        if names[tensor.name] == tensor.name:
            graph.initializer.append(tensor)
    _rename(graph, names)
