"""Triton's Python backend: Triton joins requests, this model answers them as one batch."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
import triton_python_backend_utils as backend

sys.path[:0] = os.environ["PYTHONPATH"].split(os.pathsep)  # which the embedded interpreter does not read

import same_work  # noqa: E402


class TritonPythonModel:
    """Gets as many requests as Triton's dynamic batcher found together."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the model."""
        self.model = same_work.open_model()

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer all requests as one batch and return a response for each."""
        bodies = [backend.get_input_tensor_by_name(one, "request").as_numpy()[0, 0] for one in requests]
        return [_response(body) for body in same_work.bodies(self.model, bodies)]


def _response(body: bytes) -> Any:
    return backend.InferenceResponse([backend.Tensor("response", np.array([[body]], dtype=np.object_))])
