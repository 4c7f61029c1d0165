"""A graph as TorchScript: traced, with its weights frozen in and without notes about the source code."""

from __future__ import annotations

import io
import warnings
import zipfile
from typing import Any

import torch

from export.samples import example
from export.wrappers import Graph


def to_torchscript(graph: Graph) -> bytes:
    """Trace the graph; sizes stay free, because the networks loop over no data-dependent length."""
    return saved(traced(graph))


def traced(graph: Graph) -> Any:
    """Return the graph's module as TorchScript."""
    with warnings.catch_warnings(), torch.no_grad():
        # torch advises torch.export; this runtime is for those who serve TorchScript.
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.trace(graph.module, example(graph), check_trace=False)  # type: ignore[no-untyped-call]


def saved(module: Any) -> bytes:
    """Freeze a module of TorchScript and return it as the content of a file."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.freeze(module), buffer)
    return _without_source_notes(buffer.getvalue())


def input_names(content: bytes) -> list[str]:
    """Read the names of a module's inputs, in order."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module = torch.jit.load(io.BytesIO(content))  # type: ignore[no-untyped-call]
    return [argument.name for argument in module.forward.schema.arguments[1:]]


def _without_source_notes(content: bytes) -> bytes:
    """Drop the records that map code to source lines: they hold paths of the machine that exports."""
    stripped = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stripped, "w") as new:
        for record in old.infolist():
            if not record.filename.endswith(".debug_pkl"):
                new.writestr(zipfile.ZipInfo(record.filename), old.read(record), record.compress_type)
    return stripped.getvalue()
