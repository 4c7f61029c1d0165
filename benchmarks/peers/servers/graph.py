"""What every peer runs: one session with one thread, padding, and the answer's form.

Each peer imports this module in its own environment, which has numpy and onnxruntime and nothing of ours.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

MAX_BATCH = 32
OUTPUTS = ["answer_probabilities", "attention"]

Request = tuple[Any, Any]
"""``story_tokens [facts, words]`` and ``question_tokens [question_words]``, as lists or arrays."""


def open_graph() -> ort.InferenceSession:
    """Open the graph the benchmark names, with the options our own server uses."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    return ort.InferenceSession(os.environ["BENCHMARKED_GRAPH"], options, providers=["CPUExecutionProvider"])


def run(session: ort.InferenceSession, requests: Sequence[Request]) -> list[tuple[int, float, np.ndarray]]:
    """Run requests of any lengths as one batch.

    Returns:
        For each the number of the best answer, its probability, and the attention without padding.
    """
    stories = [np.asarray(story, dtype=np.int64) for story, _ in requests]
    questions = [np.asarray(question, dtype=np.int64) for _, question in requests]
    probabilities, attention = session.run(
        OUTPUTS, {"story_tokens": _pad(stories), "question_tokens": _pad(questions)}
    )
    best = probabilities.argmax(axis=-1)
    return [
        (int(answer), float(probabilities[row, answer]), attention[row, :, : len(stories[row])])
        for row, answer in enumerate(best)
    ]


def as_json(requests: Sequence[dict[str, Any]], session: ort.InferenceSession) -> list[dict[str, Any]]:
    """Run decoded JSON requests as one batch and return what to encode."""
    results = run(session, [(request["story_tokens"], request["question_tokens"]) for request in requests])
    return [
        {"answer": answer, "score": score, "attention": attention.tolist()}
        for answer, score, attention in results
    ]


def _pad(arrays: Sequence[np.ndarray]) -> np.ndarray:
    if len({array.shape for array in arrays}) == 1:
        return np.stack(arrays)
    shape = [max(sizes) for sizes in zip(*(array.shape for array in arrays))]  # noqa: B905 - ranks agree
    padded = np.zeros((len(arrays), *shape), dtype=np.int64)
    for row, array in zip(padded, arrays):  # noqa: B905 - one row each
        row[tuple(slice(size) for size in array.shape)] = array
    return padded
