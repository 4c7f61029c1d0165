"""Translations as pictures: a heat map for each sentence, its tokens across, what was read down the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from server.api.drawing import Drawing, Text, stacked, text_width
from server.api.heat_map import FAINT, MARGIN, Weights, heat_map
from server.contract.attention import Attention
from server.tasks.translating_form import Sentence, TranslateAnswer

MOST_SENTENCES = 12
"""Sentences drawn at most."""

BETWEEN = " \N{EM DASH} "


def translation_map(texts: Sequence[str], answer: TranslateAnswer, subtitle: str) -> Drawing:
    """Lay out the sentences of all texts below each other, each with its translation as the title.

    Args:
        texts: what was asked for.
        answer: their translations, some of which may be errors.
        subtitle: which model, which kind of attention.
    """
    drawings: list[Drawing] = []
    sentences = list(_sentences(texts, answer))
    for text, translation, sentence, attention in sentences[:MOST_SENTENCES]:
        said = translation[sentence.text_start : sentence.text_end]
        title = f"{text[sentence.start : sentence.end]}{BETWEEN}{said} ({sentence.score:.2f})"
        axes = [
            (axis.name, list(axis.labels[slice(*places)]))
            for axis, places in zip(attention.axes, (sentence.tokens, sentence.source_tokens), strict=True)
        ]
        weights = _block(attention, sentence)
        drawings.append(heat_map(weights, axes, title, subtitle) if weights.size else note(title, subtitle))
    failed = [one.error.message for one in answer.translations if one.error is not None]
    drawings += [note(message) for message in failed[:MOST_SENTENCES]]
    if (more := len(sentences) - MOST_SENTENCES) > 0:
        drawings.append(note(f"{more} more sentences are not drawn"))
    return stacked(drawings)


def note(*lines: str) -> Drawing:
    """Return a drawing of nothing but lines of text."""
    shapes = [Text(MARGIN, MARGIN + 12 + 24 * row, line, 13, fill=FAINT) for row, line in enumerate(lines)]
    width = max(text_width(shape.text, shape.size) for shape in shapes)
    return Drawing(round(2 * MARGIN + width), 2 * MARGIN + 24 * len(lines), lines[0], shapes)


def _sentences(
    texts: Sequence[str], answer: TranslateAnswer
) -> Iterator[tuple[str, str, Sentence, Attention]]:
    for text, one in zip(texts, answer.translations, strict=True):
        if one.attention is not None:
            for sentence in one.sentences or ():
                yield text, one.text or "", sentence, one.attention


def _block(attention: Attention, sentence: Sentence) -> Weights:
    """Return a sentence's own part of the weights ``[tokens, source tokens]``."""
    rows, (first, behind) = attention.weights[slice(*sentence.tokens)], sentence.source_tokens
    if isinstance(rows, np.ndarray):
        return rows[:, first:behind]
    block = np.zeros((len(rows), behind - first), np.float32)
    for row, pairs in zip(block, rows, strict=True):
        for place, weight in pairs:
            row[place - first] = weight
    return block
