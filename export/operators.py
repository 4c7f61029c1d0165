"""Our own operators as ONNX nodes. A family that brings an operator adds a line to ``OPERATORS``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from onnxscript import opset20 as op


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


OPERATORS: dict[str, Callable[..., Any]] = {"gru": gru_node, "lstm": lstm_node}
"""How ``torch.ops.engram.NAME`` is written; importing its family defines the operator."""


def translations() -> dict[Any, Callable[..., Any]]:
    """Return what the dynamo exporter takes, for the operators that are defined in this process."""
    return {
        getattr(torch.ops.engram, name).default: node
        for name, node in OPERATORS.items()
        if hasattr(torch.ops.engram, name)
    }
