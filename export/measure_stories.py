"""Measuring question answering over stories: error and gold-fact recall, task by task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.served import Served
from models.data.stories import Example
from models.evaluation import Report, TaskRow, held_out_questions, tabulate
from models.learning import DataChoice
from models.story_learning import parse_tasks
from server.tasks.question_answering import QaAnswer, QaRequest


def measure_stories(served: Served, choice: DataChoice, progress: Callable[[int, int], Any]) -> Report:
    """Ask every held-out question.

    Raises:
        OSError: a file is missing.
        ValueError: there is nothing to measure the bundle on.
    """
    manifest = served.bundle.manifest
    tasks = parse_tasks(choice.tasks)
    examples, label = held_out_questions(manifest.training, choice.source, tasks, choice.split)
    rows = story_rows(served, examples, lambda done: progress(done, len(examples)))
    answered_by = dict.fromkeys((row.task for row in rows), manifest.name)
    report = Report(label, rows, answered_by, {}, manifest.training.get("notes", []))
    return replace(report, measured_by=served.measured_by)


def story_rows(
    served: Served, examples: Sequence[Example], progress: Callable[[int], Any] = lambda done: None
) -> list[TaskRow]:
    """Ask every question and count by task.

    A fact counts as looked at by the largest weight that the answer's attention gives it over the hops. A
    story beyond the model's limit loses its oldest facts, an unknown word is read as the unknown token.
    """
    by_length = sorted(range(len(examples)), key=lambda index: len(examples[index].story))
    requests = [
        QaRequest(
            list(examples[index].story), examples[index].question, truncate="oldest", unknown_words="map"
        )
        for index in by_length
    ]
    answers = dict(zip(by_length, served.answers(requests, progress), strict=True))
    right = [_answer(answers[index]).answer == one.answer for index, one in enumerate(examples)]
    weights_KF = [_weights(_answer(answers[index])) for index in range(len(examples))]
    return tabulate(examples, [not one for one in right], weights_KF)


def _answer(found: Any) -> QaAnswer:
    if isinstance(found, Exception):
        raise found
    assert isinstance(found, QaAnswer)
    return found


def _weights(answer: QaAnswer) -> NDArray[np.float32]:
    """Return the attention over the whole story; facts that were left out have no weight."""
    attention = answer.attention
    assert attention is not None
    weights_KF = np.asarray(attention.weights, dtype=np.float32)
    return np.pad(weights_KF, ((0, 0), (attention.offset, 0)))
