"""Words of a document as a reader's token ids, and where its candidates stand.

A word that the model does not know gets a *slot*: an id of its own within one request, so that two different
unknown words stay different and all mentions of one are alike. What a slot means is only what stands around
it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from server.contract.text import Vocabulary
from server.errors import InputTooLong, InvalidRequest
from server.tasks.words import too_long

PLACEHOLDER = "@placeholder"
"""Stands in a question for the word that is missing."""

CHARACTERS_A_WORD = 40
"""Longer texts than so many characters for each word allowed are refused before they are cut."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A text as words: as the model sees them, as they were written, and their characters in the text."""

    words: list[str]
    surface: list[str]
    places: list[tuple[int, int]]


class Slots:
    """Ids for the unknown words of one request, in the order they come; after the last, the first again."""

    def __init__(self, vocabulary: Vocabulary, count: int) -> None:
        self.count = count
        self.given: dict[str, int] = {}
        self._vocabulary = vocabulary

    def ids(self, words: Iterable[str]) -> NDArray[np.int64]:
        """Return the ids of normalised words; a new unknown word takes the next slot."""
        return np.array([self._id(word) for word in words], dtype=np.int64)

    def _id(self, word: str) -> int:
        known = self._vocabulary.id_of(word)
        if known is not None:
            return known
        number = self.given.setdefault(word, len(self.given))
        return len(self._vocabulary) + number % self.count


def read_passage(field: str, text: str, vocabulary: Vocabulary, most: int, knob: str) -> Passage:
    """Cut a text of a request into words.

    Raises:
        InputTooLong: it has more than ``most`` words (manifest: ``knob``).
        InvalidRequest: it has none.
    """
    characters = CHARACTERS_A_WORD * most
    if len(text) > characters:
        raise InputTooLong(
            f"{field} has {len(text)} characters, this model takes {characters} "
            f"({most} words, manifest: {knob})",
            fields=[field],
            length=len(text),
            limit=characters,
        )
    spans = vocabulary.spans(text)
    if not spans:
        raise InvalidRequest(f"{field} has no words", fields=[field])
    check_length(field, "words", len(spans), most, knob)
    places = [(start, end) for _, start, end in spans]
    return Passage([word for word, _, _ in spans], [text[start:end] for start, end in places], places)


def check_length(field: str, what: str, length: int, limit: int, knob: str) -> None:
    """Refuse a field with more things than a limit of the manifest.

    Raises:
        InputTooLong: it has.
    """
    if length > limit:
        raise too_long(what, length, limit, knob, field)


def number_candidates(words: Sequence[str], candidates: Mapping[tuple[str, ...], int]) -> NDArray[np.int64]:
    """Say for each word of a document to which candidate it belongs, 0 for none.

    A candidate of several words is where they stand one after another, and all of them are its own. Where
    several candidates fit, the longest takes the place.

    Args:
        words: the document's words.
        candidates: the words of each candidate, and its number.
    """
    numbers = np.zeros(len(words), dtype=np.int64)
    starts: dict[str, list[tuple[str, ...]]] = {}
    for candidate in sorted(candidates, key=len, reverse=True):
        starts.setdefault(candidate[0], []).append(candidate)
    place = 0
    while place < len(words):
        fitting = (c for c in starts.get(words[place], ()) if tuple(words[place : place + len(c)]) == c)
        found = next(fitting, None)
        length = len(found) if found else 1
        if found:
            numbers[place : place + length] = candidates[found]
        place += length
    return numbers
