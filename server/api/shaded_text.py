"""The attention of a reader as a picture: the document itself, its words shaded by their weights."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

from server.api.drawing import Box, Drawing, Text, shorten, text_width
from server.api.heat_map import FAINT, INK, MARGIN, TITLE_CHARACTERS, Weights, colour

WIDTH, LINE, SIZE = 860, 26, 14
"""Pixels: the text block, the height of a line, the size of its letters."""
MOST_LINES = 150
"""Lines shown at most; of a longer document those with the largest weights are kept, in order."""
MOST_CANDIDATES = 12
BAR = 200
FAINTEST = 0.02
"""Below this share of the largest weight a word has no shade."""
WIDTHS = {
    **dict.fromkeys("ijl.,;:'|!()[]", 0.3),
    **dict.fromkeys('ftr-/ "', 0.4),
    **dict.fromkeys("mwMW@%", 0.92),
}
"""Widths of letters beside their size, generously; a capital is 0.74 and any other letter 0.58."""

Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Listed:
    """A candidate below the text: what it is called, and its probability."""

    text: str
    score: float


@dataclass(frozen=True, slots=True)
class _Piece:
    """What stands between two blanks: where on its line, its attention, and whether it is the answer."""

    text: str
    x: float
    width: float
    weight: float
    answers: bool


def shaded_text(
    document: str,
    places: Sequence[Place],
    weights: Weights,
    answer: Sequence[Place],
    *,
    candidates: Sequence[Listed],
    heading: tuple[str, str],
) -> Drawing:
    """Lay a document out with its words shaded, and the candidates below.

    Args:
        document: the text.
        places: for each word its start and end in the text, in order.
        weights: [T], the attention of each word.
        answer: the places of the answer, set in bold.
        candidates: the most probable ones, the first of them the answer.
        heading: the answer as a headline, and which model and kind of attention.
    """
    title, subtitle = shorten(heading[0], TITLE_CHARACTERS), heading[1]
    lines = _lines(document, places, weights, answer)
    if len(lines) > MOST_LINES:
        subtitle = f"{subtitle}; the {MOST_LINES} strongest of {len(lines)} lines"
        lines = _strongest(lines)
    largest = float(weights.max(initial=0.0)) or 1.0
    shapes: list[Box | Text] = [
        Text(MARGIN, MARGIN + 12, title, 18, bold=True),
        Text(MARGIN, MARGIN + 38, subtitle, 12, fill=FAINT),
    ]
    top = MARGIN + 72
    for row, line in enumerate(lines):
        for piece in line:
            shapes += _shapes(piece, top + LINE * row, largest)
    below = top + LINE * len(lines) + 20
    shapes += _table(candidates[:MOST_CANDIDATES], below)
    height = below + LINE * min(len(candidates), MOST_CANDIDATES) + MARGIN
    width = max(MARGIN + WIDTH, MARGIN + text_width(title, 18), MARGIN + text_width(subtitle, 12)) + MARGIN
    return Drawing(round(width), round(height), title, shapes)


def places_of(words: Sequence[str], document: str) -> list[Place]:
    """Return where words that were cut from a document stand in it, in order."""
    places: list[Place] = []
    end = 0
    for word in words:
        start = document.index(word, end)
        end = start + len(word)
        places.append((start, end))
    return places


def _lines(
    document: str, places: Sequence[Place], weights: Weights, answer: Sequence[Place]
) -> list[list[_Piece]]:
    """Break the text into lines; a piece gets the attention of all words in it."""
    starts = [start for start, _ in places]
    answers = sorted(start for start, _ in answer)
    lines: list[list[_Piece]] = [[]]
    x, previous = 0.0, 0
    for match in re.finditer(r"\S+", document):
        text, (start, end) = shorten(match[0], 60), match.span()
        width = sum(map(_width, text)) * SIZE
        new_paragraph = "\n" in document[previous:start]
        if lines[-1] and (new_paragraph or x + width > WIDTH):
            lines.append([])
            x = 0.0
        weight = float(weights[bisect_left(starts, start) : bisect_left(starts, end)].sum())
        said = bisect_right(answers, end - 1) > bisect_left(answers, start)
        lines[-1].append(_Piece(text, MARGIN + x, width, weight, said))
        x, previous = x + width + _width(" ") * SIZE, end
    return lines


def _width(letter: str) -> float:
    if letter in WIDTHS:
        return WIDTHS[letter]
    return text_width(letter, 1) if not letter.isascii() else 0.74 if letter.isupper() else 0.58


def _strongest(lines: list[list[_Piece]]) -> list[list[_Piece]]:
    strength = [max((piece.weight for piece in line), default=0.0) for line in lines]
    kept = sorted(range(len(lines)), key=lambda row: -strength[row])[:MOST_LINES]
    return [lines[row] for row in sorted(kept)]


def _shapes(piece: _Piece, y: float, largest: float) -> list[Box | Text]:
    share = min(piece.weight / largest, 1.0)
    ink = "#ffffff" if share > 0.55 else INK
    word = Text(piece.x, y + LINE / 2, piece.text, SIZE, fill=ink, bold=piece.answers)
    if share < FAINTEST:
        return [replace(word, fill=INK)]
    tip = f"{piece.text}: {piece.weight:.4f}"
    return [Box(piece.x - 2, y + 2, piece.width + 4, LINE - 4, colour(share), tip), word]


def _table(candidates: Sequence[Listed], top: float) -> list[Box | Text]:
    """List candidates with a bar as long as they are probable."""
    names = [shorten(one.text, 40) for one in candidates]
    bars = MARGIN + max((text_width(name, 13) for name in names), default=0.0) + 12
    shapes: list[Box | Text] = []
    for row, (name, one) in enumerate(zip(names, candidates, strict=True)):
        y = top + LINE * row
        shapes.append(Text(MARGIN, y + LINE / 2, name, 13, bold=row == 0))
        shapes.append(Box(bars, y + 6, max(1.0, BAR * one.score), LINE - 12, colour(0.3 + 0.5 * one.score)))
        shapes.append(Text(bars + BAR * one.score + 8, y + LINE / 2, f"{one.score:.3f}", 12, fill=FAINT))
    return shapes
