"""Captions that nobody wrote, of mixed lengths, for benchmarks of translation."""

from __future__ import annotations

import numpy as np

WHO = ("A man", "A young woman", "Two children", "An old sailor", "Three workers", "A girl in a red coat")
DOES = ("is riding a horse", "plays the violin", "are looking at a map", "jumps over a puddle", "sits down")
WHERE = ("in the street", "near a small river", "on a sunny day", "behind the yellow house", "in the snow")
AND = ("while a brown dog watches", "and a crowd of people is waiting", "with a green bag in one hand")


def captions(count: int, seed: int = 7) -> list[str]:
    """Write captions of 3 to about 45 words: most are short, some are long."""
    rng = np.random.default_rng(seed)
    return [_caption(rng) for _ in range(count)]


def _caption(rng: np.random.Generator) -> str:
    words = [str(rng.choice(WHO)), str(rng.choice(DOES))]
    for _ in range(min(6, int(rng.geometric(0.45)) - 1)):
        words += [str(rng.choice(WHERE)), str(rng.choice(AND))]
    if rng.random() < 0.5:
        words.append(str(rng.choice(WHERE)))
    return " ".join(words) + "."
