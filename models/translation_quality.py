"""How good translations are: detokenised, cased BLEU of ``sacrebleu``, over all and by the source's length.

Captions are short, so the long end is made of two to four of them joined to one text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from models.checkpoint import Checkpoint
from models.data.parallel import Pair, ParallelText, held_out_pairs
from models.families import build
from models.learning import Cell, DataChoice, ResultTable
from models.translating import subwords_of, translations
from models.translator import SearchOptions

BUCKETS = (10, 15, 20)
"""Captions of up to so many words are reported together; what is longer is the last group."""

JOINED = (2, 3, 4)
"""So many captions in a row become one text."""


def measure_checkpoints(checkpoints: Mapping[str, Checkpoint], choice: DataChoice) -> ResultTable:
    """Translate held-out sentences greedily by eager torch and compare them with their references.

    Raises:
        OSError: a file is missing.
        ValueError: the checkpoints were trained on different data and none is named, or there are no pairs.
    """
    rows: list[dict[str, Cell]] = []
    titles = set()
    for name, checkpoint in checkpoints.items():
        selection, seed = selection_of(checkpoint.training, choice)
        split = choice.split or "test"
        pairs = held_out_pairs(selection, split, seed)
        titles.add(f"{selection.source} {split}, {selection.languages}, {len(pairs):,} sentences")
        network, subwords = build(checkpoint), subwords_of(checkpoint)

        def say(texts: Sequence[str], network: Any = network, subwords: Any = subwords) -> Sequence[str]:
            return translations(network, subwords, texts, SearchOptions())

        rows.append({"network": name, **bleu_by_length(pairs, say)})
    return ResultTable("; ".join(sorted(titles)), rows, (*signatures(), "greedy"))


def selection_of(training: Mapping[str, Any], choice: DataChoice) -> tuple[ParallelText, int]:
    """Return what to measure a network on, and the seed that says what was held out (-1: other data).

    Args:
        training: the record of how the network was trained.
        choice: what the command line says.
    """
    trained = training["selection"]
    languages = choice.tasks or trained.get("languages", ParallelText.languages)
    if choice.source not in ("", trained["source"]):
        return ParallelText(choice.source, languages=languages), -1
    selection = ParallelText(trained["source"], trained.get("valid", ""), languages)
    return selection, int(training["options"]["seed"])


def bleu_by_length(pairs: Sequence[Pair], say: Callable[[Sequence[str]], Sequence[str]]) -> dict[str, Cell]:
    """Return BLEU and chrF over all pairs, and BLEU by the source's words and of joined pairs.

    Args:
        pairs: what to translate, with one reference each.
        say: translates texts.
    """
    if not pairs:
        raise ValueError("there are no pairs to measure on")
    said = list(say([pair.source for pair in pairs]))
    references = [pair.target for pair in pairs]
    row: dict[str, Cell] = {"BLEU": bleu(said, references), "chrF": chrf(said, references)}
    for low, high in zip((0, *BUCKETS), (*BUCKETS, None), strict=True):
        places = [
            place
            for place, pair in enumerate(pairs)
            if low < len(pair.source.split()) and (high is None or len(pair.source.split()) <= high)
        ]
        name = f"{low + 1}-{high} words" if high else f"over {low} words"
        row[name] = bleu([said[place] for place in places], [pairs[place].target for place in places])
    for count in JOINED:
        longer = joined(pairs, count)
        row[f"{count} joined"] = bleu(say([pair.source for pair in longer]), [pair.target for pair in longer])
    return row


def texts_of(pairs: Sequence[Pair]) -> int:
    """Return how many texts ``bleu_by_length`` has translated."""
    return len(pairs) + sum(len(pairs) // count for count in JOINED)


def joined(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """Join every ``count`` pairs in a row to one; what is left over at the end is dropped."""
    return [
        Pair(*(" ".join(pair[side] for pair in pairs[first : first + count]) for side in (0, 1)))
        for first in range(0, len(pairs) - count + 1, count)
    ]


def bleu(said: Sequence[str], references: Sequence[str]) -> float | None:
    """Return corpus BLEU of detokenised, cased texts, or None without any."""
    return float(BLEU().corpus_score(list(said), [list(references)]).score) if said else None


def chrf(said: Sequence[str], references: Sequence[str]) -> float:
    """Return corpus chrF."""
    return float(CHRF().corpus_score(list(said), [list(references)]).score)


def signatures() -> tuple[str, ...]:
    """Return how ``sacrebleu`` measures, a line for each metric."""
    notes = []
    for name, metric in (("BLEU", BLEU()), ("chrF", CHRF())):
        metric.corpus_score(["a"], [["a"]])
        notes.append(f"{name}: {metric.get_signature()}")
    return tuple(notes)
