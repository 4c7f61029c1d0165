"""Measuring readers: accuracy by group, beside what guessing by frequency and by recency reaches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from export.served import Served
from models.learning import DataChoice, ResultTable
from models.reading_learning import accuracy_rows, held_out_questions
from server.tasks.reading import ReadAnswer, ReadRequest


def measure_reading(served: Served, choice: DataChoice, progress: Callable[[int, int], Any]) -> ResultTable:
    """Ask every held-out question.

    Raises:
        OSError: a file is missing.
        ValueError: there is nothing to measure the bundle on.
    """
    manifest, vocabulary = served.bundle.manifest, served.bundle.vocabulary
    assert vocabulary is not None
    questions, title = held_out_questions(manifest.training, choice)
    by_length = sorted(range(len(questions)), key=lambda index: len(questions[index].document))
    requests = [
        ReadRequest(one.document, one.question, list(one.candidates) or None, attention="none", top_k=1)
        for one in (questions[index] for index in by_length)
    ]
    answers = served.answers(requests, lambda done: progress(done, len(requests)))
    right = np.zeros(len(questions), dtype=np.bool_)
    for index, answer in zip(by_length, answers, strict=True):
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, ReadAnswer)
        right[index] = vocabulary.split(answer.answer) == vocabulary.split(questions[index].answer)
    rows = accuracy_rows(questions, right, {})
    return ResultTable(title, rows, tuple(manifest.training.get("notes", ())), served.measured_by)
