"""ONNX Runtime, the default: one thread a session, and a device that is never a guess."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import onnxruntime as ort

from server.contract.tensors import Array, Arrays
from server.errors import BundleError, RunError

logger = logging.getLogger(__name__)

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

HEAVY = frozenset(
    {"Conv", "FusedConv", "FusedGemm", "FusedMatMul", "GRU", "Gemm", "LSTM", "MatMul", "RNN", "Softmax"}
)
"""Node types that do the work and must not be on the CPU when a GPU was asked for. ONNX Runtime leaves
arithmetic on shapes to the CPU by design, so forbidding it every node would refuse any graph of free size."""

Weights = tuple[str, bytes]
"""The name of a file of weights, as graphs know it, and its content."""


class OnnxSession:
    """A graph in ONNX Runtime."""

    runtime = "onnx"

    def __init__(self, content: bytes, device: str = "cpu", weights: Weights | None = None) -> None:
        """Load a graph from the bytes of its file.

        Args:
            content: of the graph's file.
            device: ``cpu``, ``cuda`` or ``auto``.
            weights: name and content of the file beside it in which it keeps values; no other is opened.

        Raises:
            BundleError: the graph does not load, or the device is not what it would run on.
        """
        self.device, self._session = _open(content, device, weights)

    def run(self, inputs: Arrays, outputs: Sequence[str]) -> dict[str, Array]:
        """Run a batch and return the named outputs; other threads run Python meanwhile."""
        try:
            values = self._session.run(outputs, inputs)
        except Exception as error:  # ONNX Runtime's errors have no common base
            raise RunError("the graph failed on this input") from error
        return dict(zip(outputs, values, strict=True))

    def close(self) -> None:
        """Free the graph."""
        del self._session


def _open(content: bytes, device: str, weights: Weights | None) -> tuple[str, ort.InferenceSession]:
    if device == "auto":
        if CUDA in ort.get_available_providers():
            try:
                return _open_cuda(content, weights)
            except BundleError as error:
                logger.warning("device auto chose cpu: %s", error.message)
        device = "cpu"
    if device == "cuda":
        return _open_cuda(content, weights)
    return "cpu", _load(content, _options(weights), CPU)


def _open_cuda(content: bytes, weights: Weights | None) -> tuple[str, ort.InferenceSession]:
    if CUDA not in ort.get_available_providers():
        raise BundleError("device cuda was asked for, this build of ONNX Runtime runs on the CPU only")
    options = _options(weights)
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    # Without the second setting, batches of many sizes make the arena double for ever.
    session = _load(content, options, (CUDA, {"device_id": 0, "arena_extend_strategy": "kSameAsRequested"}))
    if session.get_providers()[0] != CUDA:
        raise BundleError(
            "device cuda was asked for and could not be opened: driver or CUDA libraries are missing"
        )
    if misplaced := heavy_nodes_on_cpu(session.get_provider_graph_assignment_info()):
        raise BundleError(f"device cuda was asked for, and {', '.join(misplaced)} would run on the CPU")
    return "cuda:0", session


def heavy_nodes_on_cpu(assignment: Iterable[Any]) -> list[str]:
    """Return the types of heavy nodes that a session's graph assignment puts on the CPU."""
    on_cpu = (node.op_type for part in assignment if part.ep_name == CPU for node in part.get_nodes())
    return sorted(HEAVY.intersection(on_cpu))


def _options(weights: Weights | None) -> ort.SessionOptions:
    options = ort.SessionOptions()
    if weights is not None:
        name, values = weights
        options.add_external_initializers_from_files_in_memory([name], [values], [len(values)])
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # A memory plan is kept for every combination of sizes ever seen; sizes here are free.
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    return options


def _load(content: bytes, options: ort.SessionOptions, provider: Any) -> ort.InferenceSession:
    try:
        return ort.InferenceSession(content, options, providers=[provider])
    except Exception as error:  # ONNX Runtime's errors have no common base
        raise BundleError("ONNX Runtime cannot load the graph") from error
