"""How language models are learnt and measured: what their options and command lines mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from models.checkpoint import Checkpoint
from models.completion import CompletionOptions, CompletionRecipe, ids_of, score
from models.data.language import PUBLISHED, TextSelection, held_out_words, load_corpus
from models.families import build
from models.frequency import Bucket, bucket_means
from models.learning import Cell, DataChoice, Plan, ResultTable
from models.pointer_sentinel_lstm import PointerSentinelLSTM
from models.presets import options_from
from models.training import TrainingOptions


class LanguageLearning:
    """Learning to continue text (a ``models.learning.Learning``)."""

    selection: ClassVar[type] = TextSelection
    options: ClassVar[type] = CompletionOptions
    given: ClassVar[tuple[str, ...]] = ("vocabulary",)

    def plan(
        self, family: str, tables: dict[str, dict[str, Any]], choice: DataChoice, training: TrainingOptions
    ) -> Plan:
        """Read the text and build the recipe."""
        if choice.tasks:
            raise ValueError("--tasks chooses among the parts of a data set, and running text has none")
        chosen = {"source": choice.source, "valid": choice.valid}
        given = {name: value for name, value in chosen.items() if value}
        selection = options_from(TextSelection, "data", tables["data"] | given)
        learning = options_from(CompletionOptions, "learning", tables["learning"])
        corpus = load_corpus(selection, training.seed)
        recipe = CompletionRecipe(
            family, corpus, learning, tables["network"], selection.at_least, training.device
        )
        summary = (
            f"{len(corpus.train):,} training and {len(corpus.valid):,} validation words, "
            f"{recipe.config.vocabulary:,} word ids"
        )
        return Plan(recipe, asdict(learning), selection.plain(), (corpus.record,), (), (summary,))

    def measure(self, checkpoints: Mapping[str, Checkpoint], choice: DataChoice) -> ResultTable:
        """Measure the perplexity over the full vocabulary, of all words and of words by frequency."""
        losses: dict[str, NDArray[np.float64]] = {}
        title = ""
        for name, checkpoint in checkpoints.items():
            source, split = held_out(checkpoint.training, choice)
            ids = ids_of(held_out_words(source, split), checkpoint.words)
            if title not in ("", f"{source} {split}") or any(
                len(other) != len(ids) for other in losses.values()
            ):
                raise ValueError("the checkpoints were trained on different text: choose with --data")
            title = f"{source} {split}"
            network = build(checkpoint)
            assert isinstance(network, PointerSentinelLSTM)
            losses[name] = -score(network, ids).log_probability
        columns = dict(zip(["perplexity"], losses.values(), strict=True)) if len(losses) == 1 else losses
        return ResultTable(title, perplexity_rows(columns, ids))


def perplexity_rows(
    losses: Mapping[str, Sequence[float] | NDArray[np.float64]], ids: NDArray[np.int64]
) -> list[dict[str, Cell]]:
    """Return a row for all words and one for each bucket of words by frequency.

    Args:
        losses: for each column the negative log-probability of every word.
        ids: the words, sorted by frequency in the training text; those of all columns are the same.
    """
    tables = {}
    for name, own in losses.items():
        everything = Bucket("all words", len(ids), float(np.mean(own)))
        tables[name] = [everything, *bucket_means(ids, own)]
    first = next(iter(tables.values()))
    rows: list[dict[str, Cell]] = []
    for place, bucket in enumerate(first):
        row: dict[str, Cell] = {"words": bucket.label, "predicted": bucket.words}
        rows.append(row | {name: math.exp(table[place].mean) for name, table in tables.items()})
    return rows


def held_out(training: Mapping[str, Any], choice: DataChoice) -> tuple[str, Literal["valid", "test"]]:
    """Return the text that a network with this provenance was not trained on: its source and part.

    Raises:
        ValueError: there is no such text.
    """
    trained_on = TextSelection(**training["selection"])
    source = choice.source or trained_on.source
    if choice.tasks:
        raise ValueError("--tasks chooses among the parts of a data set, and running text has none")
    split: Literal["valid", "test"] = "valid" if choice.split == "valid" else "test"
    if source not in PUBLISHED and source != "sample" and source == trained_on.source:
        raise ValueError(f"it was trained on {source}: give --data another file to measure it on")
    return source, split
