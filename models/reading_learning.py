"""How reading is learnt and measured: what its options and command lines mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from models.attention_sum_reader import AttentionSumReaderConfig
from models.checkpoint import Checkpoint
from models.data.cloze import Cloze, reading_vocabulary
from models.data.passages import Articles, Windows
from models.data.questions import EncodedQuestions, baselines
from models.families import build
from models.learning import Cell, DataChoice, Plan, ResultTable
from models.presets import options_from
from models.reading import (
    Material,
    PassageMaterial,
    QuestionMaterial,
    ReadingOptions,
    ReadingRecipe,
    measure,
    reader_config,
)
from models.reading_sources import ReadingSelection, held_out_clozes, load_texts
from models.story_learning import parse_tasks
from models.training import TrainingOptions
from server.contract.text import Vocabulary


class ReadingLearning:
    """Learning to answer with a word of a document (a ``models.learning.Learning``)."""

    selection: ClassVar[type] = ReadingSelection
    options: ClassVar[type] = ReadingOptions
    given: ClassVar[tuple[str, ...]] = ("vocabulary",)

    def plan(
        self, family: str, tables: dict[str, dict[str, Any]], choice: DataChoice, training: TrainingOptions
    ) -> Plan:
        """Read the texts and build the recipe."""
        learning = options_from(ReadingOptions, "learning", tables["learning"])
        selection = options_from(ReadingSelection, "data", tables["data"] | _chosen(choice))
        texts = load_texts(selection, training.seed)
        vocabulary = reading_vocabulary(texts.words(selection.vocabulary, selection.at_least))
        config = reader_config(family, tables["network"], vocabulary)
        material: Material
        if texts.articles:
            cut = Windows(
                selection.context, selection.ahead, selection.questions, anonymised=selection.anonymised
            )
            articles = Articles(texts.articles, vocabulary, config.slots)
            material = PassageMaterial(articles, cut, learning)
            amount = f"{len(texts.articles):,} articles"
        else:
            questions = EncodedQuestions(texts.train, vocabulary, config.slots)
            material = QuestionMaterial(questions, learning)
            amount = f"{len(texts.train):,} questions"
        valid = EncodedQuestions(texts.valid, vocabulary, config.slots)
        recipe = ReadingRecipe(family, vocabulary, material, valid, learning, config, training.device)
        summary = (
            f"{amount} to learn from, {len(valid):,} validation questions, {len(vocabulary):,} words",
            f"validation answers within their documents: {int((valid.answers > 0).sum()):,}",
        )
        return Plan(recipe, asdict(learning), selection.plain(), texts.records, texts.notes, summary)

    def measure(self, checkpoints: Mapping[str, Checkpoint], choice: DataChoice) -> ResultTable:
        """Measure accuracy beside that of the baselines, by group."""
        rows: list[dict[str, Cell]] = []
        notes: list[str] = []
        titles: list[str] = []
        for name, checkpoint in checkpoints.items():
            questions, title = held_out_questions(checkpoint.training, choice)
            vocabulary = Vocabulary.parse(checkpoint.tokenizer.encode())
            slots = AttentionSumReaderConfig(**checkpoint.config).slots
            _, wrong = measure(build(checkpoint), EncodedQuestions(questions, vocabulary, slots))
            rows += accuracy_rows(questions, ~wrong, {"checkpoint": name} if len(checkpoints) > 1 else {})
            notes += checkpoint.training.get("notes", [])
            titles.append(title)
        by = f"eager torch {torch.__version__}, CPU"
        title = ", ".join(dict.fromkeys(titles))
        return ResultTable(title, rows, tuple(dict.fromkeys(notes)), measured_by=by)


def held_out_questions(training: Mapping[str, Any], choice: DataChoice) -> tuple[list[Cloze], str]:
    """Return questions that a reader with this provenance was not trained on, and what to call them.

    Raises:
        OSError: a file is missing.
        ValueError: there are no such questions.
    """
    trained_on = ReadingSelection(**training["selection"])
    source = choice.source or trained_on.valid or trained_on.source
    part: Any = choice.split or "test"
    tasks = parse_tasks(choice.tasks) or trained_on.tasks
    questions = held_out_clozes(source, tasks, part)
    label = {"wikitext": f"cloze questions from WikiText-2 {part}", "babi": f"bAbI {part}"}
    if source == "lambada":
        cutter = reading_vocabulary(())
        asked = [one for one in questions if one.answer in cutter.split(one.document)]
        return asked, f"LAMBADA development, answer in passage: {len(asked):,} of {len(questions):,}"
    return questions, label.get(source, source.rpartition("/")[2])


def accuracy_rows(
    questions: Sequence[Cloze], right: NDArray[np.bool_], extra: Mapping[str, Cell]
) -> list[dict[str, Cell]]:
    """Tabulate accuracy by group, in percent, with the baselines that guess by frequency and by recency."""
    frequent, recent = baselines(questions, reading_vocabulary(()))
    rows: list[dict[str, Cell]] = []
    for group in dict.fromkeys(one.group for one in questions):
        own = np.array([one.group == group for one in questions])
        rows.append(
            {
                "questions": group,
                "count": int(own.sum()),
                "accuracy %": 100 * float(right[own].mean()),
                "most frequent %": 100 * float(frequent[own].mean()),
                "most recent %": 100 * float(recent[own].mean()),
                **extra,
            }
        )
    return rows


def _chosen(choice: DataChoice) -> dict[str, Any]:
    """Return what the command line says about the data; other data drops the preset's bAbI settings."""
    chosen: dict[str, Any] = {"source": choice.source} if choice.source else {}
    if choice.source not in ("", "babi"):
        chosen |= {"renamed": None, "tasks": ()}
    if choice.valid:
        chosen["valid"] = choice.valid
    if choice.tasks:
        chosen["tasks"] = parse_tasks(choice.tasks)
    return chosen
