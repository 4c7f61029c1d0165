"""Active memory as a graph: the diagonal Neural GPU, whose steps are one ONNX Scan.

Legend: B batch, C cells, V symbols.
"""

from __future__ import annotations

from typing import Any

from onnxscript import FLOAT, graph, script
from onnxscript import opset18 as op
from torch import Tensor, nn

from export.wrappers import Graph
from models.checkpoint import Checkpoint
from models.families import build
from server.contract.manifest import AttentionSpec, Signature, TensorSpec

State = FLOAT["batch", "cells", "maps"]
Inside = FLOAT["batch", "cells", 1]
Activity = FLOAT["cells", "batch", "cells"]
Matrix = FLOAT["rows", "columns"]
Vector = FLOAT["rows"]


@script(default_opset=op)
def scan_steps(  # noqa: PLR0917 - an ONNX function takes its inputs by position
    state: State, inside: Inside, w_gates: Matrix, b_gates: Vector, w_candidate: Matrix, b_candidate: Vector
) -> tuple[State, Activity]:
    """Write ``models.diagonal_neural_gpu.run_steps`` as a Scan over the numbers of the steps."""
    begin = op.Constant(value_ints=[0])
    second = op.Constant(value_ints=[1])
    end = op.Constant(value_ints=[9223372036854775807])
    but_one = op.Constant(value_ints=[-1])
    maps_axis = op.Constant(value_ints=[2])
    zero = op.Constant(value_float=0.0)
    half = op.Constant(value_float=0.5)
    one = op.Constant(value_float=1.0)
    maps = op.Shape(state, start=2, end=3)
    third = op.Div(maps, op.Constant(value_ints=[3]))
    moves_left = op.Sub(maps, third)
    moves_right = op.Sub(moves_left, third)
    cell = op.Concat(op.Shape(state, start=0, end=1), second, maps, axis=0)
    beyond = op.Expand(zero, cell)
    lengths = op.ReduceSum(inside, second, keepdims=1)
    cells = op.Squeeze(op.Shape(state, start=1, end=2))
    numbers = op.Cast(op.Range(op.Constant(value_int=0), cells, op.Constant(value_int=1)), to=1)
    gate_weights = op.Transpose(w_gates)
    candidate_weights = op.Transpose(w_candidate)

    @graph()
    def step(memory: Any, number: Any) -> Any:
        left = op.Concat(beyond, op.Slice(memory, begin, but_one, second), axis=1)
        right = op.Concat(op.Slice(memory, second, end, second), beyond, axis=1)
        around = op.Concat(left, memory, right, axis=-1)
        logits = op.Add(op.MatMul(around, gate_weights), b_gates)
        gates = op.Clip(op.Add(op.Mul(half, logits), half), zero, one)
        update = op.Slice(gates, maps, end, maps_axis)
        kept = op.Mul(op.Slice(gates, begin, maps, maps_axis), memory)
        kept_left = op.Concat(beyond, op.Slice(kept, begin, but_one, second), axis=1)
        kept_right = op.Concat(op.Slice(kept, second, end, second), beyond, axis=1)
        kept_around = op.Concat(kept_left, kept, kept_right, axis=-1)
        candidate = op.Add(op.MatMul(kept_around, candidate_weights), b_candidate)
        shifted = op.Concat(
            op.Slice(memory, begin, moves_right, maps_axis),
            op.Slice(left, moves_right, moves_left, maps_axis),
            op.Slice(right, moves_left, end, maps_axis),
            axis=-1,
        )
        written = op.Mul(op.Sub(one, update), op.Clip(candidate, op.Neg(one), one))
        following = op.Add(op.Mul(update, shifted), written)
        writable = op.Mul(inside, op.Cast(op.Greater(lengths, number), to=1))
        after = op.Where(op.Greater(writable, zero), following, memory)
        rewritten = op.Mul(writable, op.Sub(one, op.ReduceMean(update, maps_axis, keepdims=1)))
        activity = op.Squeeze(rewritten, maps_axis)
        return after, activity

    last, activities = op.Scan(state, numbers, body=step, num_scan_inputs=1)
    return last, activities


class ComputingGraph(nn.Module):
    """A computing network that returns probabilities and how much each cell was rewritten."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, symbols: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``probabilities`` and ``attention``."""
        computed = self.network(symbols)
        return computed.logits_BCV.softmax(dim=-1), computed.activity_BSC


def computing_graph(checkpoint: Checkpoint) -> Graph:
    """Wrap a network that takes as many steps as it has cells."""
    symbols = int(checkpoint.config["symbols"])
    signature = Signature(
        inputs=(TensorSpec(name="symbols", datatype="INT64", dims=("batch", "cells")),),
        outputs=(
            TensorSpec(name="probabilities", datatype="FP32", dims=("batch", "cells", symbols)),
            TensorSpec(name="attention", datatype="FP32", dims=("batch", "cells", "cells")),
        ),
        attention=AttentionSpec(
            output="attention", kind="memory_activity", axes=("step", "cell"), normalized_over=None
        ),
    )
    limits = {"cells": checkpoint.limits["max_cells"]}
    return Graph(ComputingGraph(build(checkpoint)).eval(), signature, limits, ids=symbols)
