"""From words to token ids, with clear refusals on the way: what word-level tasks share.

Every refusal names the field it is about, such as ``story[3]``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from server.contract.text import PAD_ID, Vocabulary
from server.errors import InputTooLong, InvalidRequest, UnknownWords

MAX_CHARACTERS = 1_000
"""Longest sentence that is looked at: it bounds the work done before a request is refused."""

ID_BYTES = np.dtype(np.int64).itemsize
PADDING = bytes([PAD_ID])
"""What pads the bytes of ids; the id of padding is 0, all of whose bytes are this one."""

SUGGESTIONS = 20
"""Unknown words that come with the known words nearest to them; further ones are only listed."""


def story_ids(facts: Sequence[str], offset: int, max_words: int, vocabulary: Vocabulary) -> NDArray[np.int64]:
    """Return the ids of the facts' words ``[facts, words]``, padded to the longest fact; it is read-only.

    Args:
        facts: at least one sentence.
        offset: the place of the first of them in the story, for the names of fields.
        max_words: most words in a fact (manifest: max_words).
        vocabulary: the model's words.

    Raises:
        InputTooLong: a fact has too many words or characters.
        InvalidRequest: a fact has no words.
    """
    if max(map(len, facts)) > MAX_CHARACTERS:
        for field, fact in _fields(facts, offset):
            _check_characters(field, fact)
    rows = vocabulary.packed(facts)
    longest = max(map(len, rows))
    if longest > max_words * ID_BYTES or b"" in rows:
        for place, row in enumerate(rows, offset):
            _check_words(f"story[{place}]", len(row) // ID_BYTES, max_words, "max_words")
    # Bytes are padded and joined several times faster than arrays of a few words.
    tokens = b"".join([row.ljust(longest, PADDING) for row in rows])
    return np.frombuffer(tokens, np.int64).reshape(len(rows), -1)


def question_ids(question: str, max_words: int, vocabulary: Vocabulary) -> NDArray[np.int64]:
    """Return the ids of the question's words ``[question_words]``.

    Raises:
        InputTooLong: it has too many words or characters.
        InvalidRequest: it has no words.
    """
    _check_characters("question", question)
    ids = vocabulary.ids(question)
    _check_words("question", len(ids), max_words, "max_question_words")
    return ids


def unknown_words(facts: Sequence[str], offset: int, question: str, vocabulary: Vocabulary) -> dict[str, str]:
    """Return every unknown word once, with the field it comes in first."""
    found: dict[str, str] = {}
    for field, text in (*_fields(facts, offset), ("question", question)):
        for word in vocabulary.unknown(text):
            found.setdefault(word, field)
    return found


def unknown_words_error(unknown: Mapping[str, str], vocabulary: Vocabulary) -> UnknownWords:
    """Make the refusal that lists every unknown word with its field and the known words nearest to it."""
    words = [
        {"word": word, "field": field, "nearest": vocabulary.nearest(word) if place < SUGGESTIONS else []}
        for place, (word, field) in enumerate(unknown.items())
    ]
    return UnknownWords(
        f"this model does not know {_listed(list(unknown))}; "
        'with "unknown_words": "map" it reads each as one unknown word',
        words=words,
        fields=list(dict.fromkeys(unknown.values())),
    )


def too_long(what: str, length: int, limit: int, knob: str, field: str) -> InputTooLong:
    """Make the refusal of a ``field`` above a limit of the manifest; ``what`` names the things counted."""
    return InputTooLong(
        f"{field} has {length} {what}, this model takes {limit} (manifest: {knob})",
        fields=[field],
        length=length,
        limit=limit,
        knob=knob,
    )


def _fields(facts: Sequence[str], offset: int) -> Iterator[tuple[str, str]]:
    return ((f"story[{place}]", fact) for place, fact in enumerate(facts, offset))


def _check_words(field: str, count: int, limit: int, knob: str) -> None:
    if count == 0:
        raise InvalidRequest(f"{field} has no words", fields=[field])
    if count > limit:
        raise too_long("words", count, limit, knob, field)


def _check_characters(field: str, text: str) -> None:
    if len(text) > MAX_CHARACTERS:
        raise InputTooLong(
            f"{field} has {len(text)} characters, a sentence may have {MAX_CHARACTERS}",
            fields=[field],
            length=len(text),
            limit=MAX_CHARACTERS,
        )


def _listed(words: list[str]) -> str:
    shown = ", ".join(repr(word) for word in words[:5])
    return shown if len(words) <= 5 else f"{shown} and {len(words) - 5} more"
