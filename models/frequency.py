"""Results by how frequent a word is in the training text: the picture of the pointer sentinel paper.

Words are sorted by frequency, as a language model's ids are, and cut into buckets that widen with rank.
``python -m models.frequency RESULTS PICTURE`` draws what a pointer gains over its control in each of them,
from the JSON that ``python -m models evaluate CONTROL POINTER --out RESULTS`` writes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

EDGES = (1, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000)
"""Ranks at which a bucket begins; ids 0 to 2 are no ordinary words."""


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


def gains(result: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Return for each bucket how much lower the second column's loss is than the first's, in nats.

    Raises:
        ValueError: the result does not compare two perplexities.
    """
    rows = result["rows"]
    names = [name for name in rows[0] if name not in ("words", "predicted")] if rows else []
    if len(names) != 2:
        raise ValueError(f"two checkpoints are compared, the control first, not {len(names)}")
    return [(row["words"], math.log(row[names[0]]) - math.log(row[names[1]])) for row in rows]


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Draw the gain in each bucket into an SVG or PNG file."""
    import matplotlib as mpl  # noqa: PLC0415 - it is slow to import, and only needed here
    from matplotlib.figure import Figure  # noqa: PLC0415

    (_, overall), *buckets = gains(result)
    labels, values = zip(*buckets, strict=True)
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(labels, values, color=["#2171b5" if value >= 0 else "#c0392b" for value in values])
    white = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    axes.bar_label(bars, [f"{value:+.3f}" for value in values], padding=3, bbox=white)
    axes.axvline(overall, color="#656d76", linestyle="--", zorder=0, label=f"all words {overall:+.3f}")
    axes.axvline(0, color="#1f2328", linewidth=0.8)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set(
        xlabel="loss of the control less the pointer's, in nats a word",
        title=f"What the pointer gains, by how frequent a word is ({result['measured_on']})",
    )
    axes.legend(loc="lower right")
    with mpl.rc_context({"svg.hashsalt": "engram"}):
        figure.savefig(path, dpi=120, metadata={"Date": None} if path.suffix == ".svg" else None)


def main(
    results: Annotated[Path, typer.Argument(help="JSON of `evaluate CONTROL POINTER --out RESULTS`.")],
    picture: Annotated[Path, typer.Argument(help="The .svg or .png file to write.")],
) -> None:
    """Draw what a pointer gains over its control, by how frequent a word is."""
    try:
        draw(json.loads(results.read_text(encoding="utf-8")), picture)
    except (OSError, ValueError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    typer.run(main)
