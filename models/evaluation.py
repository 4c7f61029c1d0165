"""Measuring a checkpoint on held-out questions, task by task, by eager torch.

The number that counts is the bundle's (``python -m export evaluate``); this one is for the bench.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.checkpoint import Checkpoint
from models.data.stories import EncodedStories, Example
from models.families import build
from models.question_answering import gold_recall, run
from server.contract.text import Vocabulary


@dataclass(frozen=True)
class TaskRow:
    """One line of a result table: error and gold-fact recall in percent."""

    task: str
    questions: int
    error: float
    gold_recall: float | None


def evaluate_checkpoint(checkpoint: Checkpoint, examples: Sequence[Example]) -> list[TaskRow]:
    """Answer every question with whole stories and count by task."""
    tasks = list(dict.fromkeys(example.task for example in examples))
    vocabulary = Vocabulary.from_words(checkpoint.words)
    stories = EncodedStories(examples, vocabulary, checkpoint.answers, tasks)
    results = run(build(checkpoint), stories, checkpoint.config["hops"])
    return tabulate(examples, results.wrong.tolist(), results.gates)


def tabulate(
    examples: Sequence[Example],
    wrong: Sequence[bool],
    gates_KF: Sequence[np.ndarray[tuple[int, int], np.dtype[np.float32]]],
) -> list[TaskRow]:
    """Group the outcomes of ``examples`` into one row a task, in the order the tasks appear."""
    rows = []
    for task in dict.fromkeys(example.task for example in examples):
        own = [i for i, example in enumerate(examples) if example.task == task]
        recall = gold_recall([gates_KF[i] for i in own], [examples[i].supports for i in own])
        error = 100 * float(np.mean([wrong[i] for i in own]))
        rows.append(TaskRow(task, len(own), error, recall))
    return rows


def mean_row(rows: Sequence[TaskRow]) -> TaskRow:
    """Return the unweighted mean over the tasks."""
    recalls = [row.gold_recall for row in rows if row.gold_recall is not None]
    return TaskRow(
        "mean",
        sum(row.questions for row in rows),
        float(np.mean([row.error for row in rows])),
        float(np.mean(recalls)) if recalls else None,
    )
