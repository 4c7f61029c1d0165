"""A text as the sentences that a translator takes one by one, and the way back to a text.

Nothing of a text is lost: a piece says which characters it is, and what stands between pieces (blanks, line
ends, bullets, rulers without a letter or a digit) goes into the joined text as it was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from sentencex import get_sentence_boundaries

Boundary = Literal["sentence", "clause", "word", "character"]
"""What a piece begins after. All but the first are cuts inside of a sentence that is too long."""

LINE = re.compile(r"[^\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+")
MARK = re.compile(r"\s*(?:[-*+>#\u2022\u2023\u25e6\u2013\u2014]+\s+)?")
"""What stands before a sentence and is none of it: blanks, and the mark of a list, heading or quotation."""
CUTS: tuple[tuple[Boundary, re.Pattern[str]], ...] = (
    ("clause", re.compile(r"(?<=[;:\u2014\u2013])\s+|\s+(?=[\u2014\u2013(])")),
    ("clause", re.compile(r"(?<=,)\s+|(?<=[\u3001\uff0c\uff1b])")),
    ("word", re.compile(r"\s+")),
)
"""Where a long sentence may be cut, the best places first."""

Ends = Callable[[str], Sequence[int]]
"""Returns for each piece that a model reads of a text the character behind it."""

WINDOWS = (2, 8)
"""So many characters for each piece are looked at to find out where a text becomes too long: few at first,
which is enough where a character takes several pieces."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Characters ``start`` to ``end`` of a text, without blanks around them."""

    start: int
    end: int
    begins_after: Boundary = "sentence"


def sentences(text: str, language: str) -> Iterator[Piece]:
    """Yield the sentences of a text; a line end ends one, and what has no letter or digit is none.

    Args:
        text: anything.
        language: its code, such as ``en``; of a language that is not known, the rules of English hold.
    """
    code = re.split("[-_]", language)[0].lower()
    for line in LINE.finditer(text):
        if not any(map(str.isalnum, line[0])):
            continue
        for sentence in get_sentence_boundaries(code, line[0]):
            start = line.start() + sentence["start_index"]
            yield from _stripped(text, start, line.start() + sentence["end_index"], "sentence")


def shortened(text: str, whole: Iterable[Piece], ends: Ends, most: int) -> list[Piece]:
    """Cut what is too long for a model: behind clauses, else between words, else anywhere.

    Args:
        text: what the pieces are of.
        whole: sentences.
        ends: how the model cuts a text.
        most: how much it takes, counted in what ``ends`` returns; none is shorter than a byte.
    """
    return [part for piece in whole for part in _parts(text, piece, ends, most)]


def joined(text: str, pieces: Sequence[Piece], translated: Sequence[str]) -> tuple[str, list[int]]:
    """Put translated pieces in the places of the pieces, with all that stood between them.

    Returns:
        The whole, and where in it each piece begins.
    """
    parts: list[str] = []
    starts: list[int] = []
    length = end = 0
    for piece, said in zip(pieces, translated, strict=True):
        gap = text[end : piece.start]
        parts += [gap, said]
        starts.append(length + len(gap))
        length += len(gap) + len(said)
        end = piece.end
    return "".join([*parts, text[end:]]), starts


def _parts(text: str, piece: Piece, ends: Ends, most: int) -> Iterator[Piece]:
    rest = piece
    last = next((place for place in reversed(range(piece.start, piece.end)) if text[place].isalnum()), -1)
    while (longest := _longest(text, rest, ends, most)) < rest.end:
        cut, boundary = _cut(text, rest.start, longest)
        # Within a word, what is left of it may be cut into more than it was as a part of the word.
        while cut > rest.start + 1 and len(ends(text[rest.start : cut])) > most:
            cut -= 1
        yield from _stripped(text, rest.start, cut, rest.begins_after)
        if cut > last:
            return
        rest = Piece(_behind_mark(text, cut, rest.end), rest.end, boundary)
    yield rest


def _longest(text: str, piece: Piece, ends: Ends, most: int) -> int:
    """Return where the longest beginning of a piece ends that fits: one character at least."""
    window = ""
    for characters in WINDOWS:
        if len(window) == piece.end - piece.start:
            break
        window = text[piece.start : min(piece.end, piece.start + characters * most)]
        if len(window.encode()) < most:
            continue  # surely: no need to cut it up
        found = ends(window)
        if len(found) > most:
            # Several pieces may stand for one character, which then goes with the next part.
            return piece.start + max((end for end in found[:most] if end < found[most]), default=1)
    return piece.start + len(window)


def _cut(text: str, start: int, longest: int) -> tuple[int, Boundary]:
    """Return where to cut a beginning: at the last good place of its second half, or of all, or its end."""
    half = start + (longest - start) // 2
    for earliest in (half, start):
        for boundary, places in CUTS:
            ends = [
                place.end() for place in places.finditer(text, start, longest + 1) if place.start() <= longest
            ]
            if ends and earliest < min(ends[-1], longest):
                return min(ends[-1], longest), boundary
    return longest, "character"


def _stripped(text: str, start: int, end: int, boundary: Boundary) -> list[Piece]:
    """Return the piece without blanks and marks around it, or nothing if it has neither letter nor digit."""
    part = text[start:end]
    if not any(map(str.isalnum, part)):
        return []
    return [Piece(_behind_mark(text, start, end), start + len(part.rstrip()), boundary)]


def _behind_mark(text: str, start: int, end: int) -> int:
    mark = MARK.match(text, start, end)
    assert mark is not None
    return mark.end()
