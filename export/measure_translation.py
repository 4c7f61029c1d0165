"""Measuring translation: BLEU and chrF of what the server answers, by search and by the source's length.

Captions are short, so the long end is made of joined ones, read as one text and sentence by sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from export.served import Served
from models.data.parallel import Pair, held_out_pairs
from models.learning import Cell, DataChoice, ResultTable
from models.translation_quality import bleu_by_length, selection_of, signatures, texts_of
from server.errors import InputTooLong
from server.tasks.translating_form import TranslateAnswer, TranslateRequest

Split = Literal["none", "sentences"]

SEARCHES: tuple[tuple[str, int, Split], ...] = (
    ("greedy", 1, "none"),
    ("beam 4", 4, "none"),
    ("beam 4, by sentence", 4, "sentences"),
)
"""What is measured: name, beam, and whether texts are read as a whole or sentence by sentence."""


def measure_translation(
    served: Served, choice: DataChoice, progress: Callable[[int, int], Any]
) -> ResultTable:
    """Translate held-out sentences and joined ones by every search.

    Raises:
        OSError: a file is missing.
        ValueError: there are no pairs to measure on.
    """
    title, pairs = chosen_pairs(served, choice)
    total = len(SEARCHES) * texts_of(pairs)
    rows: list[dict[str, Cell]] = []
    done = 0
    for search, beam, split in SEARCHES:

        def say(texts: Sequence[str], beam: int = beam, split: Split = split) -> list[str]:
            nonlocal done
            before, done = done, done + len(texts)
            return translated(served, texts, beam, split, lambda count: progress(before + count, total))

        rows.append({"search": search, **bleu_by_length(pairs, say)})
    return ResultTable(title, rows, signatures(), served.measured_by)


def chosen_pairs(served: Served, choice: DataChoice) -> tuple[str, list[Pair]]:
    """Return what a bundle is measured on, and a title for it."""
    selection, seed = selection_of(served.bundle.manifest.training, choice)
    split = choice.split or "test"
    pairs = held_out_pairs(selection, split, seed)
    return f"{selection.source} {split}, {selection.languages}, {len(pairs):,} sentences", pairs


def translated(
    served: Served,
    texts: Sequence[str],
    beam: int = 1,
    split: Split = "none",
    told: Callable[[int], Any] = lambda done: None,
) -> list[str]:
    """Have texts translated, each asked on its own, so that all of them share batches.

    A text that is too long for the model is translated by nothing.

    Raises:
        EngramError: one was not translated for another reason.
    """
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    requests = [
        TranslateRequest(texts[place], beam_size=beam, split=split, attention="none") for place in order
    ]
    said = [""] * len(texts)
    for place, answer in zip(order, served.answers(requests, told), strict=True):
        if isinstance(answer, InputTooLong):
            continue
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, TranslateAnswer)
        said[place] = answer.translations[0].text or ""
    return said
