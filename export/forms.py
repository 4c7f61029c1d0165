"""The exported forms of a network's graphs, and the certificate that they are the network."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import torch

from export.greedy import TIE
from export.greedy_parity import DrivenSession, compare_greedy
from export.half import halved
from export.loops import greedy_loop
from export.parity import NOISE, cases, compare_interface, compare_names, compare_values, grid
from export.script_loops import scripted_loop
from export.to_onnx import OPSET, interface, to_onnx
from export.to_torchscript import input_names, to_torchscript
from export.wrappers import EagerSession, Graph, Graphs
from server.contract.manifest import Signature
from server.runtime.onnx_session import OnnxSession
from server.runtime.session import Session
from server.runtime.torchscript_session import TorchScriptSession

LIBRARIES = ("torch", "onnx", "onnxscript", "onnxruntime")
MODEL, TORCHSCRIPT = "model", "torchscript"

Progress = Callable[[str, int, int], None]
"""Is told what is being done and how far it is: step, done, total."""

Forms = dict[str, bytes]
"""Role (``model``, ``torchscript``, ``step``, ``step_torchscript``) to the content of the file."""


def torchscript_role(role: str) -> str:
    """Return the role of the TorchScript form of what has this role as ONNX."""
    return TORCHSCRIPT if role == MODEL else f"{role}_{TORCHSCRIPT}"


def traced_graphs(graphs: Graphs) -> dict[str, Graph]:
    """Return by role the graphs that are exported one by one: all but a loop, and none twice."""
    traced = {} if graphs.greedy else {MODEL: graphs.model}
    return traced | {str(stage): graph for stage, graph in graphs.stages.items() if graph is not graphs.model}


def export_forms(graphs: Graphs, torchscript: bool, half: bool, progress: Progress) -> Forms:
    """Export every graph as ONNX and, if wanted, those that are traced as TorchScript.

    ``half`` stores large weights of the ONNX forms as float16, which changes no value of a rounded network.
    """
    forms: Forms = {}
    for role, graph in traced_graphs(graphs).items():
        forms[role] = _told(progress, f"exporting {role} as ONNX", to_onnx, graph)
        if torchscript:
            step = f"exporting {role} as TorchScript"
            forms[torchscript_role(role)] = _told(progress, step, to_torchscript, graph)
    if graphs.greedy:
        signature = graphs.model.signature
        assert isinstance(signature, Signature)
        forms[MODEL] = greedy_loop(forms["encoder"], forms["step"], signature, graphs.greedy, OPSET)
        if torchscript:
            forms[TORCHSCRIPT] = scripted_loop(graphs)
    if half:
        onnx_roles = (MODEL, *graphs.stages)
        forms |= {role: halved(forms[role]) for role in onnx_roles if role in forms}
    return forms


def certify(graphs: Graphs, forms: Forms, tolerance: float, progress: Progress) -> dict[str, Any]:
    """Compare every form of every graph with eager torch; return what was compared and how far apart it is.

    Raises:
        ParityError: a form is not the network.
    """
    traced = {
        role: _certify_graph(role, graph, forms, tolerance, progress)
        for role, graph in traced_graphs(graphs).items()
    }
    whole = _certify_greedy(graphs, forms, tolerance, progress) if graphs.greedy else traced.pop(MODEL)
    return {
        "reference": "eager torch",
        "tolerance": tolerance,
        "noise_granted": NOISE,
        **whole,
        **({"graphs": traced} if traced else {}),
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {library: version(library) for library in LIBRARIES},
    }


def _certify_graph(
    role: str, graph: Graph, forms: Forms, tolerance: float, progress: Progress
) -> dict[str, Any]:
    sessions: dict[str, Session] = {"onnx": OnnxSession(forms[role])}
    compare_interface(f"{role}, onnx", graph.signature, interface(forms[role]))
    if torchscript_role(role) in forms:
        content = forms[torchscript_role(role)]
        found = input_names(content)
        if len(found) != len(graph.inputs):  # they are given by position, names are the network's own
            compare_names(f"{role}, torchscript", "inputs", graph.inputs, found)
        sessions[TORCHSCRIPT] = TorchScriptSession(content, graph.signature)
    total = sum(1 for _ in cases(graph))
    measured, noise = compare_values(
        graph,
        EagerSession(graph),
        EagerSession(graph, torch.float64),
        sessions,
        tolerance,
        each_case=lambda done: progress(f"comparing {role}", done, total),
    )
    return {
        "noise": noise,
        "stages": ["names", "axes", "shapes", "values", "alone and in a batch"],
        "grid": grid(graph),
        "batches": total,
        "largest_difference": {
            form: {"from_reference": one.values, "alone_or_in_a_batch": one.alone}
            for form, one in measured.items()
        },
    }


def _certify_greedy(graphs: Graphs, forms: Forms, tolerance: float, progress: Progress) -> dict[str, Any]:
    """Compare the loop, and the stages driven one by one, with eager torch."""
    graph = graphs.model
    compare_interface("onnx", graph.signature, interface(forms[MODEL]))
    stages = OnnxSession(forms["encoder"]), OnnxSession(forms["step"])
    sessions: dict[str, Session] = {
        "onnx": OnnxSession(forms[MODEL]),
        "driven": DrivenSession(graphs, *stages),
    }
    if TORCHSCRIPT in forms:
        sessions[TORCHSCRIPT] = TorchScriptSession(forms[TORCHSCRIPT], graph.signature)
    total = sum(1 for _ in cases(graph))
    measured, noise = compare_greedy(
        graphs, sessions, tolerance, each_case=lambda done: progress("comparing decoders", done, total)
    )
    return {
        "noise": noise,
        "stages": ["names", "axes", "shapes", "choices", "values", "alone and in a batch"],
        "grid": grid(graph),
        "batches": total,
        "tie": TIE,
        "largest_difference": {
            form: {"from_reference": one.values, "alone_or_in_a_batch": one.alone, "ties": one.ties}
            for form, one in measured.items()
        },
    }


def _told(progress: Progress, step: str, make: Callable[[Graph], bytes], graph: Graph) -> bytes:
    progress(step, 0, 1)
    content = make(graph)
    progress(step, 1, 1)
    return content
