"""Places in a text, counted in characters: sentences, and where an answer is mentioned."""

from __future__ import annotations

import re
from collections.abc import Sequence

from server.contract.text import SENTENCE_END

Span = tuple[int, int]
"""First character, and the one behind the last."""


def sentences(text: str) -> list[Span]:
    """Return where the sentences of a text are, cut as ``split_sentences`` cuts them."""
    spans: list[Span] = []
    start = 0
    for gap in (*((found.start(), found.end()) for found in SENTENCE_END.finditer(text)), (len(text),) * 2):
        piece = text[start : gap[0]]
        if any(map(str.isalnum, piece)):
            begin = start + len(piece) - len(piece.lstrip())
            spans.append((begin, begin + len(piece.strip())))
        start = gap[1]
    return spans


def find(answer: str, text: str, evidence: Sequence[Span]) -> Span:
    """Return the last mention of an answer in the first piece of evidence that mentions it.

    Args:
        answer: whole words, in any case.
        text: where to look.
        evidence: spans of the text, the weightiest first; without a mention the first of them is returned.
    """
    mention = re.compile(rf"(?<!\w){re.escape(answer)}(?!\w)", re.IGNORECASE)
    for start, end in evidence:
        if found := list(mention.finditer(text, start, end)):
            return found[-1].span()
    return evidence[0] if evidence else (0, 0)
