"""How language models are learnt and measured: what their options and command lines mean."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar, Literal

from models.checkpoint import Checkpoint
from models.completion import CompletionOptions, CompletionRecipe, ids_of, score
from models.data.language import PUBLISHED, TextSelection, held_out_words, load_corpus
from models.families import build
from models.frequency import Bucket, bucket_means
from models.learning import DataChoice, Plan, ResultTable
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
        columns: dict[str, dict[str, float]] = {}
        counts: dict[str, int] = {}
        for name, checkpoint in checkpoints.items():
            source, split = held_out(checkpoint.training, choice)
            ids = ids_of(held_out_words(source, split), checkpoint.words)
            network = build(checkpoint)
            assert isinstance(network, PointerSentinelLSTM)
            losses = -score(network, ids).log_probability
            buckets = [Bucket("all words", len(ids), float(losses.mean())), *bucket_means(ids, losses)]
            columns[name] = {bucket.label: math.exp(bucket.mean) for bucket in buckets}
            counts |= {bucket.label: bucket.words for bucket in buckets}
        names = {name: "perplexity" if len(columns) == 1 else f"perplexity {name}" for name in columns}
        rows = [
            {
                "words": label,
                "predicted": count,
                **{names[name]: columns[name].get(label) for name in columns},
            }
            for label, count in counts.items()
        ]
        return ResultTable(f"{source} {split}", rows)


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
