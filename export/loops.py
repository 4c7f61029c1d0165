"""The whole graph of a stepwise family: its exported encoder, and one ONNX Loop over its exported step.

Nothing is traced here: the two files are put together node by node, so the loop computes exactly what the
server computes when it drives them. Constants of both lie in the outer graph, equal ones once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

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
    constants = _constants(
        {
            "yes": np.bool_(True),
            "start": np.int64(greedy.start),
            "end": np.int64(-1 if greedy.end is None else greedy.end),
            "most": np.int64(0 if isinstance(greedy.most, str) else greedy.most),
            "none": np.int64(0),
            "nothing": np.float32(0),
            "no": np.bool_(False),
            "second_axis": np.array([1]),
        }
    )
    nodes = [
        *outer.node,
        *_before(signature.inputs[0].name, greedy),
        *_loop(body, encoded, signature, greedy),
    ]
    initializers = [*outer.initializer, *body.initializer, *constants]
    whole = helper.make_graph(
        nodes,
        "model",
        [_value(spec, spec.name, spec.dims) for spec in signature.inputs],
        [_value(spec, spec.name, spec.dims) for spec in signature.outputs],
    )
    _keep_once(whole, initializers)
    model = helper.make_model(
        whole, opset_imports=[helper.make_opsetid("", opset)], producer_name="engram", ir_version=10
    )
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


@dataclass(frozen=True)
class _Carried:
    """A value that a step takes from the step before.

    ``name`` is what the body takes, ``following`` what it makes, ``first`` what the loop begins with and
    ``last`` what it leaves; ``element`` and ``dims`` are its type.
    """

    name: str
    following: str
    first: str
    last: str
    element: int
    dims: Sequence[str | int]

    def value(self, name: str) -> ValueInfoProto:
        return helper.make_tensor_value_info(name, self.element, self.dims)


def _carried(body: GraphProto, encoded: set[str], greedy: Greedy) -> list[_Carried]:
    """List the choice, who is running, the steps taken, and the states of the step."""
    kinds = {value.name.removeprefix(STEP): value.type.tensor_type for value in body.input}
    outputs = {value.name for value in body.output}
    states = [
        _Carried(
            STEP + name,
            STEP + NEXT + name,
            ENCODER + name if name in encoded else name,
            f"{LOOP}last.{name}",
            kind.elem_type,
            [dim.dim_param or dim.dim_value for dim in kind.shape.dim],
        )
        for name, kind in kinds.items()
        if STEP + NEXT + name in outputs
    ]
    own = (
        (STEP + greedy.choice, "choice", "first_choice", LOOP + "last_choice", TensorProto.INT64),
        (LOOP + "running", "next_running", "all", LOOP + "still_running", TensorProto.BOOL),
        (LOOP + "steps", "next_steps", "no_steps", LENGTHS, TensorProto.INT64),
    )
    return [
        *(
            _Carried(name, LOOP + following, LOOP + first, last, element, ["batch"])
            for name, following, first, last, element in own
        ),
        *states,
    ]


def _before(some_input: str, greedy: Greedy) -> list[NodeProto]:
    """Make what the loop starts from: the batch, everyone running, no step taken, the first choice."""
    most = ENCODER + greedy.most if isinstance(greedy.most, str) else LOOP + "most"
    return [
        helper.make_node("Shape", [some_input], [LOOP + "batch"], start=0, end=1),
        helper.make_node("Expand", [LOOP + "start", LOOP + "batch"], [LOOP + "first_choice"]),
        helper.make_node("Expand", [LOOP + "yes", LOOP + "batch"], [LOOP + "all"]),
        helper.make_node("Expand", [LOOP + "none", LOOP + "batch"], [LOOP + "no_steps"]),
        helper.make_node("Identity", [most], [LOOP + "limit"]),
    ]


def _loop(body: GraphProto, encoded: set[str], signature: Signature, greedy: Greedy) -> list[NodeProto]:
    """Make the loop and turn what it stacked, steps first, to the batch first."""
    carried = _carried(body, encoded, greedy)
    outside = {one.name for one in carried}
    # A body sees the values around it: what stays the same needs no carrying.
    staying = [value.name.removeprefix(STEP) for value in body.input if value.name not in outside]
    _rename(body, {STEP + name: ENCODER + name if name in encoded else name for name in staying})
    made = {greedy.chosen: LOOP + "choice", SCORES: LOOP + "score"}
    made |= {name: STEP + name for name in greedy.collected}
    shown = [spec for spec in signature.outputs if spec.name in made]
    nodes = [*body.node, *_choosing(greedy)]
    for spec in shown:
        nodes += _hidden_when_ended(made[spec.name], spec)
    inner = helper.make_graph(
        nodes,
        "step",
        [
            helper.make_tensor_value_info(LOOP + "number", TensorProto.INT64, []),
            helper.make_tensor_value_info(LOOP + "going", TensorProto.BOOL, []),
            *(one.value(one.name) for one in carried),
        ],
        [
            helper.make_tensor_value_info(LOOP + "go_on", TensorProto.BOOL, []),
            *(one.value(one.following) for one in carried),
            *(_value(spec, _kept(spec), ["batch", *spec.dims[2:]]) for spec in shown),
        ],
    )
    stacked = [_kept(spec) + ".stacked" for spec in shown]
    loop = helper.make_node(
        "Loop",
        ["", LOOP + "yes", *(one.first for one in carried)],
        [*(one.last for one in carried), *stacked],
        body=inner,
    )
    turned = [
        helper.make_node("Transpose", [steps_first], [spec.name], perm=[1, 0, *range(2, len(spec.dims))])
        for steps_first, spec in zip(stacked, shown, strict=True)
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


def _hidden_when_ended(value: str, spec: TensorSpec) -> list[NodeProto]:
    """Put zeros where a row has ended before this step; ``spec`` is the output that it becomes part of."""
    zero, running = LOOP + {"INT64": "none", "FP32": "nothing", "BOOL": "no"}[spec.datatype], LOOP + "running"
    nodes = []
    if more_axes := len(spec.dims) - 2:
        axes, wide = _kept(spec) + ".axes", _kept(spec) + ".running"
        nodes = [
            helper.make_node("Constant", [], [axes], value_ints=list(range(1, 1 + more_axes))),
            helper.make_node("Unsqueeze", [running, axes], [wide]),
        ]
        running = wide
    return [*nodes, helper.make_node("Where", [running, value, zero], [_kept(spec)])]


def _kept(spec: TensorSpec) -> str:
    return f"{LOOP}{spec.name}.kept"


def _prefixed(content: bytes, prefix: str) -> GraphProto:
    return add_prefix_graph(onnx.load_from_string(content).graph, prefix)


def _rename(graph: GraphProto, names: Mapping[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _rename(attribute.g, names)


def _value(spec: TensorSpec, name: str, dims: Sequence[str | int]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, ELEMENTS[spec.datatype], list(dims))


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
