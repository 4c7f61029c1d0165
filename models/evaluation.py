"""Measuring checkpoints on held-out questions, task by task, by eager torch.

The number that counts is the bundle's (``python -m export evaluate``); this one is for the bench.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from models.checkpoint import Checkpoint
from models.data.babi import TASKS
from models.data.sources import Selection, held_out_examples, load_examples
from models.data.stories import EncodedStories, Example, task_order
from models.families import build
from models.measuring import gold_recall, run
from server.contract.text import Vocabulary

FAILED = 5.0
"""A bAbI task counts as failed above this error, in percent (Weston et al. 2015)."""


@dataclass(frozen=True)
class TaskRow:
    """One line of a result table: error and gold-fact recall in percent."""

    task: str
    questions: int
    error: float
    gold_recall: float | None


@dataclass(frozen=True)
class Report:
    """The table of one or more checkpoints, each task answered by the one that was trained on it."""

    measured_on: str
    rows: list[TaskRow]
    answered_by: dict[str, str]
    """Task to the name of its checkpoint."""
    commands: dict[str, str]
    """Name of a checkpoint to the command that trained it."""
    notes: list[str]
    measured_by: str = f"eager torch {torch.__version__}, CPU"

    def plain(self) -> dict[str, Any]:
        """Return everything as JSON holds it, with the mean, and on what, when and how it was measured."""
        return {
            "measured_on": self.measured_on,
            "measured_by": self.measured_by,
            "date": datetime.now(UTC).date().isoformat(),
            "rows": [asdict(row) | {"checkpoint": self.answered_by[row.task]} for row in self.rows],
            "mean": asdict(mean_row(self.rows)),
            "failed": [row.task for row in self.rows if row.error > FAILED],
            "commands": self.commands,
            "notes": self.notes,
        }

    def show(self, console: Console) -> None:
        """Print the table with its mean, and what has to be said about the training data."""
        several = len(self.commands) > 1
        table = Table("task", "questions", "error %", "gold facts on top %", title=self.measured_on)
        if several:
            table.add_column("checkpoint")
        for row in [*self.rows, mean_row(self.rows)]:
            title = TASKS.get(int(row.task), "") if row.task.isdecimal() else ""
            recall = "" if row.gold_recall is None else f"{row.gold_recall:.1f}"
            cells = [f"{row.task} {title}".strip(), f"{row.questions:,}", f"{row.error:.2f}", recall]
            table.add_row(*cells, *([self.answered_by.get(row.task, "")] if several else []))
        console.print(table)
        failed = [row.task for row in self.rows if row.error > FAILED]
        console.print(f"above {FAILED:.0f} % error: {', '.join(failed) or 'none'}")
        for note in self.notes:
            console.print(note)


def evaluate_checkpoints(
    checkpoints: Mapping[str, Checkpoint], data: str = "", tasks: Sequence[int] = (), split: str = ""
) -> Report:
    """Measure checkpoints on questions they were not trained on, and join their tasks to one table.

    Args:
        checkpoints: by the name they have in the table.
        data: ``babi``, ``sample`` or a JSON-lines file; empty means what each was trained on.
        tasks: bAbI tasks; empty means those each was trained on.
        split: ``test`` or ``valid``; empty means ``test`` where there is one.

    Raises:
        OSError: a file is missing.
        ValueError: there is nothing to measure a checkpoint on, or two answer the same task.
    """
    rows: list[TaskRow] = []
    answered_by: dict[str, str] = {}
    commands: dict[str, str] = {}
    measured_on: list[str] = []
    notes: list[str] = []
    for name, checkpoint in checkpoints.items():
        try:
            examples, label = held_out_questions(checkpoint.training, data, tasks, split)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        for row in evaluate_checkpoint(checkpoint, examples):
            if row.task in answered_by:
                raise ValueError(f"{answered_by[row.task]} and {name} both answer task {row.task}")
            rows.append(row)
            answered_by[row.task] = name
        commands[name] = str(checkpoint.training.get("command", "unknown"))
        measured_on.append(label)
        notes += checkpoint.training.get("notes", [])
    rows.sort(key=lambda row: task_order(row.task))
    return Report(
        ", ".join(dict.fromkeys(measured_on)), rows, answered_by, commands, list(dict.fromkeys(notes))
    )


def held_out_questions(
    training: Mapping[str, Any], data: str, tasks: Sequence[int], split: str
) -> tuple[list[Example], str]:
    """Return questions that a network with this provenance was not trained on, and what to call them.

    Raises:
        OSError: a file is missing.
        ValueError: there are no such questions.
    """
    trained_on = Selection(**training["selection"])
    source = data or trained_on.source
    known = source == trained_on.source
    if source == "babi":
        own = trained_on.tasks if known and trained_on.tasks else tuple(TASKS)
        chosen = [task for task in tasks or own if task in own]
        if not chosen:
            raise ValueError(f"it was trained on bAbI task {', '.join(map(str, own))} only")
        part: Literal["valid", "test"] = "valid" if split == "valid" else "test"
        return held_out_examples("babi", chosen, part), f"bAbI {part}"
    if tasks:
        raise ValueError(f"--tasks chooses among the bAbI tasks, and the data is {source!r}")
    if known and (split == "valid" or source != "sample"):
        if split == "test":
            raise ValueError(f"{source} has no test questions: use --split valid, or --data another file")
        held_out = load_examples(trained_on, training["options"]["seed"]).valid
        return held_out, f"the validation stories of {Path(source).name}"
    if split == "valid":
        raise ValueError(f"it was not trained on {source}, so no part of it is held out: leave out --split")
    label = "fresh sample stories" if source == "sample" else f"all of {Path(source).name}"
    return held_out_examples(source, (), "test"), label


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
    """Group the outcomes of ``examples`` into one row a task, in the order the tasks appear.

    Args:
        examples: the questions.
        wrong: for each whether its answer was wrong.
        gates_KF: for each the gates ``[K, F]``, without padding.
    """
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
