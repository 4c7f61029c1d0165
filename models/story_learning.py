"""How question answering over stories is learnt and measured: what its options and command lines mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar

from models.checkpoint import Checkpoint
from models.data.babi import TASKS
from models.data.sources import Selection, load_examples
from models.evaluation import Report, evaluate_checkpoints
from models.learning import DataChoice, Plan
from models.presets import options_from
from models.question_answering import QuestionAnsweringOptions, QuestionAnsweringRecipe
from models.training import TrainingOptions


class StoryLearning:
    """Learning to answer questions about stories (a ``models.learning.Learning``)."""

    selection: ClassVar[type] = Selection
    options: ClassVar[type] = QuestionAnsweringOptions
    given: ClassVar[tuple[str, ...]] = ("vocabulary", "answers")

    def plan(
        self, family: str, tables: dict[str, dict[str, Any]], choice: DataChoice, training: TrainingOptions
    ) -> Plan:
        """Read the stories and build the recipe."""
        learning = options_from(QuestionAnsweringOptions, "learning", tables["learning"])
        selection = options_from(Selection, "data", tables["data"] | _chosen(choice))
        examples = load_examples(selection, training.seed)
        recipe = QuestionAnsweringRecipe(
            family, examples.train, examples.valid, learning, tables["network"], training.device
        )
        summary = [f"{len(recipe.train):,} training and {len(recipe.valid):,} validation questions"]
        if recipe.unseen_answers:
            unseen = ", ".join(recipe.unseen_answers)
            summary.append(f"validation answers that no training story has count as wrong: {unseen}")
        return Plan(
            recipe,
            asdict(learning),
            selection.plain(),
            tuple(examples.records),
            tuple(examples.notes),
            tuple(summary),
        )

    def measure(self, checkpoints: Mapping[str, Checkpoint], choice: DataChoice) -> Report:
        """Measure error and gold-fact recall of each task."""
        return evaluate_checkpoints(checkpoints, choice.source, parse_tasks(choice.tasks), choice.split)


def parse_tasks(text: str) -> tuple[int, ...]:
    """Read ``1,2,16-19``; an empty text is no choice.

    Raises:
        ValueError: it is not a list of bAbI tasks and ranges of them.
    """
    numbers: list[int] = []
    for part in text.split(",") if text else ():
        first, dash, last = (piece.strip() for piece in part.partition("-"))
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"--tasks: {part.strip()!r} is neither a task nor a range of tasks")
        chosen = range(int(first), int(last or first) + 1)
        if not chosen or chosen[0] not in TASKS or chosen[-1] not in TASKS:
            raise ValueError(f"--tasks: bAbI has tasks 1 to {len(TASKS)}, not {part.strip()}")
        numbers += chosen
    return tuple(dict.fromkeys(numbers))


def _chosen(choice: DataChoice) -> dict[str, Any]:
    """Return what the command line says about the data; other data drops the preset's bAbI settings."""
    chosen: dict[str, Any] = {"source": choice.source} if choice.source else {}
    if choice.source not in ("", "babi"):
        chosen |= {"renamed": {}, "tasks": ()}
    if choice.valid:
        chosen["valid"] = choice.valid
    if choice.tasks:
        chosen["tasks"] = parse_tasks(choice.tasks)
    return chosen
