"""Our own operators as ONNX nodes. A family that brings an operator adds a line to ``OPERATORS``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from onnxscript import opset20 as op

from export.diagonal_scan import scan_steps


def gru_node(x: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any) -> Any:
    """Translate ``engram::gru`` to one GRU node.

    torch orders the gates reset, update, new, and ONNX update, reset, new.
    """
    first: Any = [0]
    second: Any = [1]

    def reorder(weight: Any) -> Any:
        reset, update, new = op.Split(weight, axis=0, num_outputs=3)
        return op.Concat(update, reset, new, axis=0)

    bias = op.Concat(reorder(b_ih), reorder(b_hh), axis=0)
    states, _ = op.GRU(
        x,
        op.Unsqueeze(reorder(w_ih), first),
        op.Unsqueeze(reorder(w_hh), first),
        op.Unsqueeze(bias, first),
        hidden_size=int(w_hh.shape[1]),
        linear_before_reset=1,
    )
    return op.Squeeze(states, second)


def lstm_node(x: Any, h: Any, c: Any, weights: Sequence[Any]) -> tuple[Any, Any]:
    """Translate ``engram::lstm`` to one LSTM node that begins in a given state.

    torch orders the gates input, forget, new, output, and ONNX input, output, forget, new.
    """
    first: Any = [0]
    second: Any = [1]

    def reorder(weight: Any) -> Any:
        enter, forget, new, leave = op.Split(weight, axis=0, num_outputs=4)
        return op.Concat(enter, leave, forget, new, axis=0)

    w_ih, w_hh, b_ih, b_hh = weights
    states, _, last_c = op.LSTM(
        x,
        op.Unsqueeze(reorder(w_ih), first),
        op.Unsqueeze(reorder(w_hh), first),
        op.Unsqueeze(op.Concat(reorder(b_ih), reorder(b_hh), axis=0), first),
        None,
        op.Unsqueeze(h, first),
        op.Unsqueeze(c, first),
        hidden_size=int(w_hh.shape[1]),
    )
    return op.Squeeze(states, second), op.Squeeze(last_c, first)


def bidirectional_lstm_node(x: Any, weights: Sequence[Any]) -> Any:
    """Translate ``engram::bidirectional_lstm`` to one LSTM node of both directions, from zero states."""
    first: Any = [0]

    def reorder(weight: Any) -> Any:
        enter, forget, new, leave = op.Split(weight, axis=0, num_outputs=4)
        return op.Concat(enter, leave, forget, new, axis=0)

    def both(one: Any, other: Any) -> Any:
        return op.Concat(op.Unsqueeze(one, first), op.Unsqueeze(other, first), axis=0)

    def bias(b_ih: Any, b_hh: Any) -> Any:
        return op.Concat(reorder(b_ih), reorder(b_hh), axis=0)

    w_ih, w_hh, b_ih, b_hh, back_w_ih, back_w_hh, back_b_ih, back_b_hh = weights
    states, _, _ = op.LSTM(  # [S, 2, B, H]
        x,
        both(reorder(w_ih), reorder(back_w_ih)),
        both(reorder(w_hh), reorder(back_w_hh)),
        both(bias(b_ih, b_hh), bias(back_b_ih, back_b_hh)),
        hidden_size=int(w_hh.shape[1]),
        direction="bidirectional",
    )
    joined: Any = [0, 0, -1]
    return op.Reshape(op.Transpose(states, perm=[0, 2, 1, 3]), joined)


def scan_node(state: Any, inside: Any, weights: Sequence[Any]) -> Any:
    """Translate ``engram::diagonal_neural_gpu`` to one Scan."""
    return scan_steps(state, inside, *weights)


OPERATORS: dict[str, Callable[..., Any]] = {
    "gru": gru_node,
    "lstm": lstm_node,
    "bidirectional_lstm": bidirectional_lstm_node,
    "diagonal_neural_gpu": scan_node,
}
"""How ``torch.ops.engram.NAME`` is written; importing its family defines the operator."""


def translations() -> dict[Any, Callable[..., Any]]:
    """Return what the dynamo exporter takes, for the operators that are defined in this process."""
    return {
        getattr(torch.ops.engram, name).default: node
        for name, node in OPERATORS.items()
        if hasattr(torch.ops.engram, name)
    }
