"""Sentences that the project makes up in a model's own words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import cycle

import numpy as np

from server.contract.text import Vocabulary

SLOTS: Mapping[str, tuple[str, ...]] = {
    "person": ("Ada", "Mary", "Ben", "John", "Cleo", "Sandra"),
    "place": ("attic", "kitchen", "harbour", "garden", "market", "office"),
    "thing": ("lamp", "apple", "map", "milk", "violin", "football"),
}
SLOT = re.compile(r"\{(\w+)\}")
"""What a sentence form may name in braces."""


def sentences(
    forms: tuple[str, ...], vocabulary: Vocabulary, rng: np.random.Generator, max_words: int
) -> Callable[[], str]:
    """Return a writer of sentences in known words; where no form fits, it strings such words together.

    Args:
        forms: sentences with slots, such as ``{person} walked to the {place}.``
        vocabulary: the words that the model knows.
        rng: what decides.
        max_words: no sentence is longer.
    """
    slots = {
        slot: known
        for slot, words in SLOTS.items()
        if (known := [word for word in words if not vocabulary.unknown(word)])
    }

    def write(form: str) -> str:
        names = {slot: cycle(rng.permutation(words)) for slot, words in slots.items()}
        return SLOT.sub(lambda slot: str(next(names[slot[1]])), form)

    def fits(form: str) -> bool:
        return (
            slots.keys() >= set(SLOT.findall(form))
            and not vocabulary.unknown(write(form))
            and len(vocabulary.split(write(form))) <= max_words
        )

    if fitting := [form for form in forms if fits(form)]:
        return lambda: write(str(rng.choice(fitting)))
    longest = min(8, max_words)
    return lambda: " ".join(rng.choice(vocabulary.words, size=rng.integers(1, longest, endpoint=True)))
