"""TorchScript, where a bundle or a setting asks for it. Only here the server imports torch, and only then."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from server.contract.manifest import GraphSpec
from server.contract.tensors import Array, Arrays
from server.errors import BundleError, RunError


class TorchScriptSession:
    """A scripted module. It takes the signature's inputs by position and returns its outputs as a tuple."""

    runtime = "torchscript"

    def __init__(self, content: bytes, signature: GraphSpec, device: str = "cpu") -> None:
        """Load a module from the bytes of its file.

        Raises:
            BundleError: torch is not installed, the module does not load, or there is no such device.
        """
        self._torch = _import_torch()
        self._torch.set_num_threads(1)
        self.device = _pick_device(self._torch, device)
        try:
            self._module = self._torch.jit.load(io.BytesIO(content), map_location=self.device).eval()
        except RuntimeError as error:
            raise BundleError("torch cannot load the module") from error
        self._inputs = [spec.name for spec in signature.inputs]
        self._outputs = [spec.name for spec in signature.outputs]

    def run(self, inputs: Arrays, outputs: Sequence[str]) -> dict[str, Array]:
        """Run a batch and return the named outputs."""
        try:
            with self._torch.inference_mode():
                tensors = [self._torch.tensor(inputs[name], device=self.device) for name in self._inputs]
                values = dict(zip(self._outputs, self._module(*tensors), strict=True))
                return {name: values[name].cpu().numpy() for name in outputs}
        except Exception as error:
            raise RunError("the graph failed on this input") from error

    def close(self) -> None:
        """Free the module."""
        del self._module


def _import_torch() -> Any:
    try:
        import torch  # noqa: PLC0415 - the server runs where torch is absent
    except ImportError as error:
        raise BundleError("runtime torchscript needs torch, which is not installed here") from error
    return torch


def _pick_device(torch: Any, device: str) -> str:
    if device == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        return "cuda:0"
    if device == "cuda":
        raise BundleError("device cuda was asked for, and torch finds none")
    return "cpu"
