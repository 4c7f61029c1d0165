"""Words and sentences: what a word-level model reads.

A ``Vocabulary`` wraps a word-level ``tokenizer.json``, so training, export, the server and a client cut text
in the same way: Unicode NFC, lower case, punctuation becomes a blank, words are what blanks separate.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Self
from unicodedata import combining

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

PAD, UNKNOWN = "[PAD]", "[UNK]"
PAD_ID, UNKNOWN_ID = 0, 1
PUNCTUATION = '.?!,;:"()'

CACHED_SENTENCES = 16_384
CACHED_LENGTH = 200
"""Longer sentences are not kept, so the cache stays small whatever clients send."""

LONGEST_WORD = 40
"""Nothing is near a longer word; comparing costs more the longer it is."""

MANY_WORDS = 5_000
"""Beyond it an unknown word is compared only with words that begin alike."""

SENTENCE_END = re.compile(r"(?<=[.?!])\s+|\n+")


class Vocabulary:
    """The words a model knows, with their ids; 0 is padding and 1 is any unknown word.

    The two special ids cannot be written in a text: words are lower-cased and ``[PAD]`` is not.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        ids = tokenizer.get_vocab(with_added_tokens=True)
        if ids.get(PAD) != PAD_ID or ids.get(UNKNOWN) != UNKNOWN_ID:
            raise ValueError(f"the tokenizer must map {PAD} to {PAD_ID} and {UNKNOWN} to {UNKNOWN_ID}")
        if tokenizer.normalizer is None or tokenizer.pre_tokenizer is None:
            raise ValueError("the tokenizer must normalise text and cut it into words")
        self._tokenizer = tokenizer
        self._ids = ids
        self.words = sorted(ids.keys() - {PAD, UNKNOWN}, key=ids.__getitem__)
        """Every known word, in the order of its id."""
        self._cached = lru_cache(CACHED_SENTENCES)(self._lookup)

    @classmethod
    def from_words(cls, words: Iterable[str]) -> Self:
        """Build a vocabulary that gives ids 2, 3, ... to ``words`` in the order they come.

        Raises:
            ValueError: a word comes twice, or could never be found because normalising changes it.
        """
        known = list(words)
        ids = {word: place for place, word in enumerate((PAD, UNKNOWN, *known))}
        tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN))
        blank = normalizers.Replace(Regex(f"[{re.escape(PUNCTUATION)}]"), " ")
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase(), blank])
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        if len(ids) != len(known) + 2:
            raise ValueError("a word comes twice")
        vocabulary = cls(tokenizer)
        for word in known:
            if vocabulary.split(word) != [word]:
                raise ValueError(f"{word!r} is not a normalised word")
        return vocabulary

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a ``tokenizer.json``."""
        return cls.parse(path.read_bytes())

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Read the content of a ``tokenizer.json``.

        Raises:
            ValueError: it is not a tokenizer, or its special ids are not ours.
        """
        try:
            tokenizer = Tokenizer.from_buffer(content)
        except Exception as error:  # the library raises plain Exception
            raise ValueError("not a tokenizer file") from error
        return cls(tokenizer)

    def save(self, path: Path) -> None:
        """Write a ``tokenizer.json``."""
        self._tokenizer.save(str(path))

    def __len__(self) -> int:
        """Count the ids, padding and unknown included: the height of an embedding table."""
        return len(self._ids)

    def ids(self, sentence: str) -> NDArray[np.int64]:
        """Return the ids of the sentence's words; the array is read-only."""
        [packed] = self.packed([sentence])
        return np.frombuffer(packed, np.int64)

    def packed(self, sentences: Iterable[str]) -> list[bytes]:
        """Return the ids of each sentence's words as the bytes of int64, which are quick to pad and join."""
        cached, lookup = self._cached, self._lookup
        return [
            cached(sentence) if len(sentence) <= CACHED_LENGTH else lookup(sentence) for sentence in sentences
        ]

    def split(self, sentence: str) -> list[str]:
        """Return the sentence's words as the model sees them: normalised, without punctuation."""
        normalized = self._tokenizer.normalizer.normalize_str(sentence)
        return [word for word, _ in self._tokenizer.pre_tokenizer.pre_tokenize_str(normalized)]

    def spans(self, text: str) -> list[tuple[str, int, int]]:
        """Return every word as the model sees it, with its start and end in ``text`` as it was given."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        normalize = self._tokenizer.normalizer.normalize_str
        places = (
            encoding.offsets if text.isascii() else [_with_accents(text, *one) for one in encoding.offsets]
        )
        return [
            (normalize(text[start:end]) if word == UNKNOWN else word, start, end)
            for word, (start, end) in zip(encoding.tokens, places, strict=True)
        ]

    def id_of(self, word: str) -> int | None:
        """Return the id of a normalised word, or None where it is not known."""
        return self._ids.get(word)

    def dump(self) -> str:
        """Return the content of a ``tokenizer.json``."""
        content: str = self._tokenizer.to_str()
        return content

    def unknown(self, sentence: str) -> list[str]:
        """Return the sentence's words that the model does not know, each once, in order."""
        return list(dict.fromkeys(word for word in self.split(sentence) if word not in self._ids))

    def nearest(self, word: str, n: int = 3) -> list[str]:
        """Return up to ``n`` known words that look most like ``word``, the best first."""
        if len(word) > LONGEST_WORD:
            return []
        return get_close_matches(word, self.words if len(self.words) <= MANY_WORDS else self._like(word), n)

    def _like(self, word: str) -> list[str]:
        """Return the known words of similar length that begin alike: comparing with all takes too long."""
        first = word[:1].casefold()
        return [
            known
            for known in self.words
            if abs(len(known) - len(word)) <= 2 and known[:1].casefold() == first
        ]

    def _lookup(self, sentence: str) -> bytes:
        return np.array(self._tokenizer.encode(sentence, add_special_tokens=False).ids, np.int64).tobytes()


def _with_accents(text: str, start: int, end: int) -> tuple[int, int]:
    """Let a word end after the combining marks of its last letter: normalising joined them."""
    while end < len(text) and combining(text[end]):
        end += 1
    return start, end


def split_sentences(text: str) -> list[str]:
    """Cut a story given as one text: at line ends, and after ``.``, ``?`` or ``!`` before a blank.

    Pieces without a letter or a digit are dropped. Abbreviations are not understood: a story that holds
    some is better given as a list.
    """
    pieces = (piece.strip() for piece in SENTENCE_END.split(text))
    return [piece for piece in pieces if any(map(str.isalnum, piece))]
