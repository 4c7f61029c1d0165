"""Pieces of words: what a model reads and writes that knows no fixed list of words.

``Subwords`` wraps a byte-level BPE ``tokenizer.json``: cased, without an unknown, and whatever is cut can be
put together again. Special ids cannot be written in a text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

SPECIAL = ("[PAD]", "[UNK]", "[START]", "[END]")
PAD_ID, UNKNOWN_ID, START_ID, END_ID = range(4)
BLANK = "\u0120"
"""How byte-level BPE writes a blank."""


class Subwords:
    """The pieces a model knows, with their ids; the ids of ``SPECIAL`` come first."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        if [tokenizer.id_to_token(place) for place in range(len(SPECIAL))] != list(SPECIAL):
            raise ValueError(f"the tokenizer must give the ids 0 to 3 to {', '.join(SPECIAL)}")
        if tokenizer.get_added_tokens_decoder():
            raise ValueError("the tokenizer must have no added tokens: they could be written in a text")
        if tokenizer.normalizer is None or not isinstance(tokenizer.decoder, decoders.ByteLevel):
            raise ValueError("the tokenizer must normalise text and put bytes together again")
        self._tokenizer = tokenizer

    @classmethod
    def learn(cls, texts: Iterable[str], size: int) -> Self:
        """Learn at most ``size`` pieces, special ones included; 260 of them are fixed."""
        tokenizer = Tokenizer(models.BPE())
        tokenizer.normalizer = normalizers.NFC()
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=list(SPECIAL),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        # The trainer would let a text name them.
        content = json.loads(tokenizer.to_str()) | {"added_tokens": []}
        return cls.parse(json.dumps(content).encode())

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Read the content of a ``tokenizer.json``.

        Raises:
            ValueError: it is not such a tokenizer.
        """
        try:
            tokenizer = Tokenizer.from_buffer(content)
        except Exception as error:  # the library raises plain Exception
            raise ValueError("not a tokenizer file") from error
        return cls(tokenizer)

    def dump(self) -> str:
        """Return the content of a ``tokenizer.json``."""
        content: str = self._tokenizer.to_str()
        return content

    def __len__(self) -> int:
        """Count the ids, special ones included."""
        return int(self._tokenizer.get_vocab_size())

    def ids(self, text: str) -> NDArray[np.int64]:
        """Return the ids of the text's pieces."""
        return np.array(self._tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.int64)

    def pieces(self, text: str) -> list[str]:
        """Return for each id the part of the text that it stands for.

        Each of several pieces of one character is that whole character; a blank alone is empty.
        """
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return [
            "" if piece == BLANK else text[start:end].strip()
            for piece, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True)
        ]

    def ends(self, text: str) -> list[int]:
        """Return for each id the character of the text behind what it stands for."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return [end for _, end in encoding.offsets]

    def labels(self, ids: Sequence[int]) -> list[str]:
        """Return for each id the part of the text that it stands for, as ``pieces`` does for a text."""
        labels: list[str] = []
        half: list[int] = []
        for one in ids:
            half.append(one)
            part = self.text(half)
            # Half a character waits for its other pieces, of which there are three at most.
            if "\ufffd" not in part or len(half) == 4:
                labels += [part.strip()] * len(half)
                half = []
        return labels + [self.text(half).strip()] * len(half)

    def text(self, ids: Sequence[int]) -> str:
        """Put pieces together; special ids are left out, and half a character becomes a replacement sign."""
        known = [int(one) for one in ids if one >= len(SPECIAL)]
        decoded: str = self._tokenizer.decode(known, skip_special_tokens=False)
        return decoded.removeprefix(" ")


def is_subwords(content: bytes) -> bool:
    """Tell whether a ``tokenizer.json`` cuts words into pieces."""
    try:
        return bool(json.loads(content)["model"]["type"] == "BPE")
    except (ValueError, KeyError, TypeError):
        return False
