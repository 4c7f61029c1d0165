"""How translation is learnt and measured: what its options and command lines mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar

from models.checkpoint import Checkpoint
from models.data.parallel import ParallelText, load_pairs
from models.learning import DataChoice, Plan, ResultTable
from models.presets import options_from
from models.training import TrainingOptions
from models.translating import TranslationOptions, TranslationRecipe
from models.translation_quality import measure_checkpoints


class TranslationLearning:
    """Learning to translate (a ``models.learning.Learning``)."""

    selection: ClassVar[type] = ParallelText
    options: ClassVar[type] = TranslationOptions
    given: ClassVar[tuple[str, ...]] = TranslationRecipe.sizes

    def plan(
        self, family: str, tables: dict[str, dict[str, Any]], choice: DataChoice, training: TrainingOptions
    ) -> Plan:
        """Read the pairs, learn the subwords and build the recipe."""
        learning = options_from(TranslationOptions, "learning", tables["learning"])
        selection = options_from(ParallelText, "data", tables["data"] | chosen(choice))
        pairs = load_pairs(selection, training.seed)
        recipe = TranslationRecipe(
            family, pairs.train, pairs.valid, selection.both, learning, tables["network"], training.device
        )
        summary = [f"{len(recipe.examples):,} training and {len(pairs.valid):,} validation pairs"]
        left_out = len(pairs.train) - len(recipe.examples)
        if left_out:
            summary.append(
                f"{left_out:,} pairs are left out: longer than {learning.max_pieces} pieces or empty"
            )
        return Plan(recipe, asdict(learning), selection.plain(), pairs.records, (), tuple(summary))

    def measure(self, checkpoints: Mapping[str, Checkpoint], choice: DataChoice) -> ResultTable:
        """Measure BLEU, over all sentences and by the length of the source."""
        return measure_checkpoints(checkpoints, choice)


def chosen(choice: DataChoice) -> dict[str, Any]:
    """Return what the command line says about the data; ``--tasks`` are the languages."""
    values = {"source": choice.source, "valid": choice.valid, "languages": choice.tasks}
    return {name: value for name, value in values.items() if value}
