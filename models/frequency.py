"""Results by how frequent a word is in the training text: the picture of the pointer sentinel paper.

Words are sorted by frequency, as a language model's ids are, and cut into buckets that double in rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EDGES = (1, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000)
"""Ranks at which a bucket begins, after the most frequent word's 0; ids 0 to 2 are no ordinary words."""


@dataclass(frozen=True)
class Bucket:
    """Words of neighbouring rank: how many were predicted, and the mean of what was measured on them."""

    label: str
    words: int
    mean: float


def bucket_means(ids: NDArray[np.int64], values: Sequence[float] | NDArray[np.float64]) -> list[Bucket]:
    """Return the mean of ``values`` over the predicted words of each bucket; empty buckets are left out.

    Args:
        ids: the predicted words: 1 is the unknown word, 2 the end of a line, 3 the most frequent other word.
        values: what was measured on each.
    """
    measured = np.asarray(values, dtype=np.float64)
    buckets = [_bucket("unknown word", ids == 1, measured), _bucket("end of line", ids == 2, measured)]
    ranks = ids - 2
    for low, high in zip(EDGES, (*EDGES[1:], None), strict=True):
        inside = (ranks >= low) & ((ranks < high) if high else True)
        label = f"rank {low:,} to {high - 1:,}" if high else f"rank {low:,} and beyond"
        buckets.append(_bucket(label, inside, measured))
    return [bucket for bucket in buckets if bucket.words]


def _bucket(label: str, inside: NDArray[np.bool_], values: NDArray[np.float64]) -> Bucket:
    count = int(inside.sum())
    return Bucket(label, count, float(values[inside].mean()) if count else 0.0)
