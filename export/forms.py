"""The exported forms of a graph, and the certificate that they are the network."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import torch

from export.parity import NOISE, cases, compare_interface, compare_names, compare_values, grid
from export.to_onnx import interface, to_onnx
from export.to_torchscript import input_names, to_torchscript
from export.wrappers import EagerSession, Graph
from server.runtime.onnx_session import OnnxSession
from server.runtime.session import Session
from server.runtime.torchscript_session import TorchScriptSession

LIBRARIES = ("torch", "onnx", "onnxscript", "onnxruntime")

Progress = Callable[[str, int, int], None]
"""Is told what is being done and how far it is: step, done, total."""

Forms = dict[str, bytes]
"""Role (``model``, ``torchscript``) to the content of the file."""


def export_forms(graph: Graph, torchscript: bool, progress: Progress) -> Forms:
    """Export the graph as ONNX and, if wanted, as TorchScript."""
    exporters = {"model": ("exporting ONNX", to_onnx)}
    if torchscript:
        exporters["torchscript"] = ("exporting TorchScript", to_torchscript)
    forms: Forms = {}
    for role, (step, exporter) in exporters.items():
        progress(step, 0, 1)
        forms[role] = exporter(graph)
        progress(step, 1, 1)
    return forms


def certify(graph: Graph, forms: Forms, tolerance: float, progress: Progress) -> dict[str, Any]:
    """Compare every form with eager torch; return what was compared and how far apart they were at most.

    Raises:
        ParityError: a form is not the network.
    """
    sessions: dict[str, Session] = {"onnx": OnnxSession(forms["model"])}
    compare_interface("onnx", graph.signature, interface(forms["model"]))
    if "torchscript" in forms:
        compare_names("torchscript", "inputs", graph.inputs, input_names(forms["torchscript"]))
        sessions["torchscript"] = TorchScriptSession(forms["torchscript"], graph.signature)
    total = sum(1 for _ in cases(graph))
    measured, noise = compare_values(
        graph,
        EagerSession(graph),
        EagerSession(graph, torch.float64),
        sessions,
        tolerance,
        each_case=lambda done: progress("comparing", done, total),
    )
    return {
        "reference": "eager torch",
        "tolerance": tolerance,
        "noise_granted": NOISE,
        "noise": noise,
        "stages": ["names", "axes", "shapes", "values", "alone and in a batch"],
        "grid": grid(graph),
        "batches": total,
        "largest_difference": {
            form: {"from_reference": one.values, "alone_or_in_a_batch": one.alone}
            for form, one in measured.items()
        },
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {library: version(library) for library in LIBRARIES},
    }
