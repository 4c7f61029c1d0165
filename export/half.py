"""Weights stored as float16: half the size, and no change to what a rounded network answers.

A network is rounded once, before anything is exported; that network is the reference from then on. In its
ONNX files, constants that float16 holds exactly are stored so, each behind a Cast that ONNX Runtime computes
while it loads. Others, such as products of weights that were folded, stay as they are.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from models.checkpoint import Checkpoint

SMALLEST = 1024
"""Constants of fewer elements stay float32: their Cast would weigh as much."""

STORED = ".float16"


def rounded(checkpoint: Checkpoint) -> Checkpoint:
    """Return the checkpoint with its weights as float16.

    Raises:
        ValueError: a weight is beyond the range of float16.
    """
    weights = {
        name: weight.half() if weight.is_floating_point() else weight
        for name, weight in checkpoint.weights.items()
    }
    for name, weight in weights.items():
        if weight.dtype == torch.float16 and not bool(weight.isfinite().all()):
            raise ValueError(f"{name} has values beyond the range of float16")
    return replace(checkpoint, weights=weights)


def is_rounded(checkpoint: Checkpoint) -> bool:
    """Tell whether a checkpoint holds float16 weights."""
    return any(weight.dtype == torch.float16 for weight in checkpoint.weights.values())


def halved(content: bytes) -> bytes:
    """Store the large constants of an ONNX file as float16, as far as float16 holds them exactly."""
    model = onnx.load_from_string(content)
    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < SMALLEST:
            continue
        with np.errstate(over="ignore"):
            short = values.astype(np.float16)
        if not np.array_equal(short.astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(short, name + STORED))
        casts.append(helper.make_node("Cast", [name + STORED], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())
