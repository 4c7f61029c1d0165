"""The seam between the batcher and whatever runs a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from server.contract.bundle import Bundle
from server.contract.manifest import GraphSpec, RuntimeName, StageName
from server.contract.tensors import Array, Arrays
from server.errors import BundleError


class Session(Protocol):
    """One graph, loaded on one device. Used by one thread at a time.

    Attributes:
        runtime: what runs the graph: ``onnx`` or ``torchscript``.
        device: where it really runs: ``cpu`` or ``cuda:0``.
    """

    runtime: str
    device: str

    def run(self, inputs: Arrays, outputs: Sequence[str]) -> dict[str, Array]:
        """Run a batch (batch axis first) and return the named outputs.

        Raises:
            RunError: the graph failed.
        """
        ...

    def close(self) -> None:
        """Let go of the graph and its memory."""
        ...


OpenSession = Callable[[Bundle, RuntimeName | None, str], Session]
"""What opens a session on a bundle, for a runtime (``None`` is the manifest's choice) and a device."""

OpenStage = Callable[[Bundle, StageName, RuntimeName | None, str], Session]
"""The same for one stage of a bundle."""


def open_session(bundle: Bundle, runtime: RuntimeName | None = None, device: str = "cpu") -> Session:
    """Load the bundle's graph.

    Args:
        bundle: an opened bundle.
        runtime: what runs it; ``None`` is the manifest's choice.
        device: ``cpu``, ``cuda`` (fails when CUDA is not what runs), ``auto`` (CUDA where it works).

    Raises:
        BundleError: the graph, the runtime or the device cannot be had, with the reason.
    """
    return _open(
        bundle, {"onnx": "model", "torchscript": "torchscript"}, bundle.manifest.signature, runtime, device
    )


def open_stage(
    bundle: Bundle, stage: StageName, runtime: RuntimeName | None = None, device: str = "cpu"
) -> Session:
    """Load the graph of one stage; otherwise like ``open_session``."""
    roles = {"onnx": stage, "torchscript": f"{stage}_torchscript"}
    return _open(bundle, roles, bundle.manifest.stages[stage], runtime, device)


def _open(
    bundle: Bundle, roles: Mapping[str, str], spec: GraphSpec, runtime: RuntimeName | None, device: str
) -> Session:
    # Each runtime is imported when it is chosen: a server of TorchScript bundles needs no ONNX Runtime.
    match runtime or bundle.manifest.runtime:
        case "onnx":
            from server.runtime.onnx_session import OnnxSession  # noqa: PLC0415

            return OnnxSession(bundle.read(bundle.file(roles["onnx"])), device, bundle.weights())
        case "torchscript":
            from server.runtime.torchscript_session import TorchScriptSession  # noqa: PLC0415

            return TorchScriptSession(bundle.read(bundle.file(roles["torchscript"])), spec, device)
        case other:
            raise BundleError(f"this server has no runtime {other!r}, it has onnx and torchscript")
