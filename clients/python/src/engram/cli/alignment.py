"""A translation's attention in the terminal: for each token the source, shaded by what was looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from rich.text import Text

from engram.cli.heat import COLDEST_WEIGHT, heat_style, readable
from engram.translating import Sentence, Translation

STRONGEST = 2
"""Source tokens that are named with their weights."""


def alignment_lines(answer: Translation, sentence: Sentence, width: int) -> Iterator[Text]:
    """Yield a line for each token of a sentence.

    Args:
        answer: a translation with attention.
        sentence: one of its sentences.
        width: the terminal's; where the source does not fit, only the strongest weights are given.
    """
    assert answer.attention is not None
    tokens = answer.tokens[slice(*sentence.tokens)]
    source = answer.source_tokens[slice(*sentence.source_tokens)]
    weights = np.nan_to_num(answer.attention.weights)[slice(*sentence.tokens), slice(*sentence.source_tokens)]
    label_width = max(map(len, tokens), default=0)
    named_width = 4 + STRONGEST * (max(map(len, source), default=0) + 7)
    fits = label_width + sum(len(token) + 1 for token in source) + named_width <= width
    largest = float(weights.max(initial=0.0)) or 1.0
    for token, row in zip(tokens, weights, strict=True):
        line = Text(f"{readable(token):>{label_width}}  ", style="bold")
        if fits:
            for label, weight in zip(source, row.tolist(), strict=True):
                share = weight / largest
                line.append(readable(label), style=heat_style(share) if share >= COLDEST_WEIGHT else "dim")
                line.append(" ")
            line.append("  ")
        line.append(_strongest(source, row.tolist()), style="dim")
        yield line


def _strongest(source: Sequence[str], row: Sequence[float]) -> str:
    places = sorted(range(len(row)), key=lambda place: -row[place])[:STRONGEST]
    return "  ".join(
        f"{readable(source[place])} {row[place]:.2f}" for place in places if row[place] >= COLDEST_WEIGHT
    )
