"""Putting words together again as a reader expects them: the way back from a corpus' cut words to text.

WikiText writes ``well @-@ known``, ``1 @,@ 000``, ``players '`` and ``" so "``; the Penn Treebank ``do n't``.
Words come one at a time, so a stream of them can be shown as it grows.
"""

from __future__ import annotations

END_OF_LINE = "<eos>"
UNKNOWN_WORD = "<unk>"
QUOTE = '"'

INSIDE = {"@-@": "-", "@,@": ",", "@.@": ".", "/": "/"}
"""Signs inside a word, with nothing on either side."""

CLOSING = frozenset([*".,;:!?)]}%'°\u201d\u2019", "n't", "..."])
"""What follows a word without a blank; so does whatever begins with an apostrophe."""

OPENING = frozenset("([{$£€#\u201c\u2018")
"""What the next word follows without a blank."""


class Joiner:
    """Text that grows by one word at a time; it knows which quotation mark closes and which one opens."""

    def __init__(self) -> None:
        self._is_open = False
        self._glued = True

    def add(self, word: str) -> str:
        """Return what the word adds to the text: itself, with a blank before it where one belongs."""
        if word == END_OF_LINE:
            self._is_open, self._glued = False, True
            return "\n"
        closes = word == QUOTE and self._is_open
        attached = closes or word in INSIDE or word in CLOSING or (word.startswith("'") and len(word) < 4)
        blank = "" if self._glued or attached else " "
        if word == QUOTE:
            self._is_open = not self._is_open
        self._glued = word in INSIDE or word in OPENING or (word == QUOTE and self._is_open)
        return blank + INSIDE.get(word, word)

    def follow(self, words: list[str], text: str) -> None:
        """Go on after a given text, of which these are the words; a blank at its end is not repeated."""
        for word in words:
            self.add(word)
        if not text or text[-1].isspace():
            self._glued = True
