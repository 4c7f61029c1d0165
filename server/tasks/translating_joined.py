"""One translation made of those of its sentences: the text, the tokens, and one attention over all of them.

A sentence is translated on its own, so no token of it looked at another: elsewhere every weight is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.contract.attention import Attention, Axis, floats, largest
from server.tasks.sentences import Piece, joined
from server.tasks.translating_form import Sentence, Translation


def weights_of(found: Sequence[Translation]) -> int:
    """Return how many weights a text's attention has if it carries them all."""
    if not all(one.attention is not None and isinstance(one.attention.weights, np.ndarray) for one in found):
        return 0
    return sum(map(_read, found)) * sum(map(_written, found))


def join_translations(
    text: str, pieces: Sequence[Piece], found: Sequence[Translation], top_k: int | None = None
) -> Translation:
    """Return the translation of a text.

    Args:
        text: as it was given.
        pieces: its sentences.
        found: the translation of each.
        top_k: how many weights of each token its attention keeps, where it has more of them.
    """
    whole, starts = joined(text, pieces, [one.text or "" for one in found])
    sentences: list[Sentence] = []
    read = written = 0
    for piece, one, start in zip(pieces, found, starts, strict=True):
        source_tokens, tokens = (read, read + _read(one)), (written, written + _written(one))
        (_, read), (_, written) = source_tokens, tokens
        sentences.append(
            Sentence(
                start=piece.start,
                end=piece.end,
                text_start=start,
                text_end=start + len(one.text or ""),
                source_tokens=source_tokens,
                tokens=tokens,
                score=one.score or 0.0,
                finish_reason=one.finish_reason or "end",
                begins_after=piece.begins_after,
            )
        )
    lengths = [max(1, _written(one) + (one.finish_reason == "end")) for one in found]
    total = sum(sentence.score * length for sentence, length in zip(sentences, lengths, strict=True))
    return Translation(
        text=whole,
        score=total / sum(lengths),
        finish_reason="length" if any(one.finish_reason == "length" for one in found) else "end",
        source_tokens=[token for one in found for token in one.source_tokens or ()],
        tokens=[token for one in found for token in one.tokens or ()],
        attention=_attention(found, sentences, top_k),
        sentences=sentences,
    )


def _attention(
    found: Sequence[Translation], sentences: Sequence[Sentence], top_k: int | None
) -> Attention | None:
    parts = [one.attention for one in found if one.attention is not None]
    if len(parts) < len(found):
        return None
    axes = [
        Axis(axis.name, [label for part in parts for label in part.axes[number].labels])
        for number, axis in enumerate(parts[0].axes)
    ]
    if top_k is None and all(isinstance(part.weights, np.ndarray) for part in parts):
        weights: Any = _blocks([part.weights for part in parts])
    else:
        weights = [
            row
            for part, sentence in zip(parts, sentences, strict=True)
            for row in _top(part.weights, sentence.source_tokens[0], top_k)
        ]
    return Attention(parts[0].kind, parts[0].normalized_over, axes, weights)


def _blocks(parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Put weights ``[tokens, source tokens]`` along the diagonal."""
    if len(parts) == 1:
        return parts[0]
    whole = np.zeros((sum(map(len, parts)), sum(part.shape[1] for part in parts)), np.float32)
    row = column = 0
    for part in parts:
        rows, columns = part.shape
        whole[row : row + rows, column : column + columns] = part
        row, column = row + rows, column + columns
    return whole


def _top(weights: Any, read: int, top_k: int | None) -> list[list[list[Any]]]:
    """Return the largest weights of each row, counted from the first source token of the whole."""
    if not isinstance(weights, np.ndarray):
        return [[[place + read, weight] for place, weight in row] for row in weights]
    rows: list[list[list[Any]]] = []
    for row in weights:
        places = largest(row, top_k or len(row))
        pairs = zip(places, floats(row[places]), strict=True)
        rows.append([[place + read, weight] for place, weight in pairs])
    return rows


def _read(one: Translation) -> int:
    return len(one.source_tokens or ())


def _written(one: Translation) -> int:
    return len(one.tokens or ())
