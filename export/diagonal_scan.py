"""The steps of the diagonal Neural GPU as one ONNX Scan, written in onnxscript.

Legend: C cells, M maps.
"""
# mypy: ignore-errors
# What looks like Python here is compiled to ONNX: its values are tensors, whatever their types say.

from __future__ import annotations

from onnxscript import FLOAT, graph, script
from onnxscript import opset18 as op

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
    def step(memory, number):  # noqa: ANN001, ANN202 - onnxscript knows no annotations here
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
