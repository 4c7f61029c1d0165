"""A graph as one ONNX file of standard operators: every recurrence a GRU node, every named axis free.

The dynamo exporter translates our own operators (``export.operators``); ONNX Runtime then folds what depends
on weights alone. Only its hardware-independent passes are used, so the file serves any runtime.
"""

from __future__ import annotations

import inspect
import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import onnxruntime as ort
import torch

from export.operators import translations
from export.parity import Interface, Port
from export.samples import example
from export.wrappers import Graph

OPSET = 20


def to_onnx(graph: Graph) -> bytes:
    """Export the graph.

    Raises:
        RuntimeError: torch cannot trace it with free axes, or the result is no valid ONNX.
    """
    shapes = tuple(
        {axis: dim for axis, dim in enumerate(spec.dims) if isinstance(dim, str)}
        for spec in graph.signature.inputs
    )
    free = {name: torch.export.Dim(name, min=1) for axes in shapes for name in axes.values()}
    dims = tuple({axis: free[dim] for axis, dim in axes.items()} for axes in shapes)
    with _quiet():
        # Traced here, because this refuses an axis that cannot stay free; the exporter would freeze it.
        program = torch.export.export(
            graph.module, example(graph), dynamic_shapes=(dims,) if _takes_any(graph) else dims, strict=False
        )
        exported = torch.onnx.export(
            program,
            (),
            dynamo=True,
            opset_version=OPSET,
            external_data=False,
            verbose=False,
            input_names=graph.inputs,
            output_names=graph.outputs,
            dynamic_shapes=(shapes,) if _takes_any(graph) else shapes,
            custom_translation_table=translations(),
        )
    assert exported is not None
    return fold_constants(exported.model_proto.SerializeToString())


def _takes_any(graph: Graph) -> bool:
    """Tell whether the module takes its inputs as ``*tensors``."""
    parameters = inspect.signature(graph.module.forward).parameters.values()
    return any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)


def fold_constants(content: bytes) -> bytes:
    """Compute once what depends on weights alone, and drop notes about the source code."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "folded.onnx"
        options.optimized_model_filepath = str(path)
        ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        model = onnx.load(path)
    foreign = sorted({node.op_type for node in model.graph.node if node.domain})
    if foreign:
        raise RuntimeError(f"the graph has operators outside the ONNX standard: {', '.join(foreign)}")
    del model.opset_import[:]
    model.opset_import.append(onnx.helper.make_opsetid("", OPSET))
    model.producer_name, model.producer_version = "engram", ""
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def interface(content: bytes) -> Interface:
    """Read the inputs and outputs of an ONNX file."""
    graph = onnx.load_from_string(content).graph
    return Interface([_port(value) for value in graph.input], [_port(value) for value in graph.output])


def _port(value: onnx.ValueInfoProto) -> Port:
    tensor = value.type.tensor_type
    datatype = onnx.TensorProto.DataType.Name(tensor.elem_type)
    dims = tuple(dim.dim_param or dim.dim_value for dim in tensor.shape.dim)
    return Port(value.name, {"FLOAT": "FP32"}.get(datatype, datatype), dims)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks about its own insides from the terminal."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
