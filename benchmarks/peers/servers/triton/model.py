"""Triton's Python backend: Triton joins requests, this model pads them and runs the graph."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
import triton_python_backend_utils as backend

sys.path.insert(0, os.environ["BENCHMARKED_SERVERS"])  # Triton runs a copy of this file

import graph


class TritonPythonModel:
    """Gets as many requests as Triton's dynamic batcher found together."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the graph."""
        self.session = graph.open_graph()

    def execute(self, requests: list[Any]) -> list[Any]:
        """Run all rows of all requests as one batch and return a response for each request."""
        stories, questions = (
            [backend.get_input_tensor_by_name(request, name).as_numpy() for request in requests]
            for name in ("story_tokens", "question_tokens")
        )
        rows = [(story[0], question[0]) for story, question in zip(stories, questions)]  # noqa: B905
        return [_response(*result) for result in graph.run(self.session, rows)]


def _response(answer: int, score: float, attention: np.ndarray) -> Any:
    tensors = [
        backend.Tensor("answer", np.array([[answer]], dtype=np.int64)),
        backend.Tensor("score", np.array([[score]], dtype=np.float32)),
        backend.Tensor("attention", np.ascontiguousarray(attention[None])),
    ]
    return backend.InferenceResponse(tensors)
