"""An attention as a heat map: one row for each thing looked at, one column for each look.

The axis with the longer labels runs down the page, so sentences are read as sentences.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from server.api.drawing import Box, Drawing, Text, shorten, text_width

ROW = 26
CELL = 64
MARGIN = 24
LABEL_CHARACTERS = 72
MOST_ROWS = 200
"""Rows shown at most; of a longer story those with the largest weights are kept, in order."""
MOST_COLUMNS = 60

INK, FAINT = "#1f2328", "#656d76"
SCALE = np.array(
    [[247, 251, 255], [198, 219, 239], [107, 174, 214], [33, 113, 181], [8, 48, 107]], dtype=np.float64
)
"""Colours from no weight to the largest: ColorBrewer's sequential Blues."""

Weights = NDArray[np.floating]


def heat_map(
    weights: Weights, axes: list[tuple[str, list[str]]], title: str, subtitle: str, first: int = 0
) -> Drawing:
    """Lay an attention out as a heat map.

    Args:
        weights: [A, B], or [B] for a single look.
        axes: for each axis its name and one label per entry.
        title: the answer, as a headline.
        subtitle: which model, which kind of attention.
        first: number of the first entry of the last axis (facts that were cut off are counted).
    """
    (across, columns), (_, rows) = axes if len(axes) == 2 else [("", [""]), *axes]
    grid = np.atleast_2d(weights).T  # [B, A]: things looked at down, looks across
    numbers = np.arange(len(rows)) + first + 1
    if len(rows) > MOST_ROWS:
        kept = np.sort(np.argsort(grid.max(axis=1))[-MOST_ROWS:])
        subtitle += f", the {MOST_ROWS} strongest of {len(rows)}"
        grid, rows, numbers = grid[kept], [rows[index] for index in kept], numbers[kept]
    grid, columns = grid[:, :MOST_COLUMNS], columns[:MOST_COLUMNS]
    labels = [shorten(row, LABEL_CHARACTERS) for row in rows]
    gutter = 8 + text_width(str(numbers[-1]), 12)
    left = MARGIN + gutter + 12 + max(text_width(label, 13) for label in labels) + 12
    top = MARGIN + 84
    heads = [f"{across} {column}".strip() for column in columns]
    cell = max(CELL, *(text_width(shorten(head, 14), 13) + 12 for head in heads))
    legend_x = left + cell * len(columns) + 28
    headline = shorten(title, 110)
    width = max(legend_x + 70, MARGIN * 2 + text_width(headline, 18), MARGIN * 2 + text_width(subtitle, 12))
    height = max(top + ROW * len(rows), top + 140) + MARGIN
    largest = float(grid.max(initial=0.0)) or 1.0
    shapes: list[Box | Text] = [
        Text(MARGIN, MARGIN + 12, headline, 18, fill=INK, bold=True),
        Text(MARGIN, MARGIN + 38, subtitle, 12, fill=FAINT),
    ]
    shapes += [
        Text(left + cell * (index + 0.5), top - 14, shorten(head, 14), 13, "middle", FAINT)
        for index, head in enumerate(heads)
    ]
    for index, (number, label, values) in enumerate(zip(numbers, labels, grid, strict=True)):
        middle = top + ROW * (index + 0.5)
        shapes.append(Text(MARGIN + gutter, middle, str(number), 12, "end", FAINT))
        shapes.append(Text(MARGIN + gutter + 12, middle, label, 13, bold=values.max() >= 0.5 * largest))
        for column, value in enumerate(values):
            shapes += _cell(
                left + cell * column, top + ROW * index, cell, float(value), largest, heads[column]
            )
    shapes += _legend(legend_x, top, largest)
    return Drawing(round(width), round(height), headline, shapes)


def colour(share: float) -> str:
    """Return the colour of a share of the largest weight, 0..1, as ``#rrggbb``."""
    position = min(max(share, 0.0), 1.0) * (len(SCALE) - 1)
    low = min(int(position), len(SCALE) - 2)
    red, green, blue = SCALE[low] + (SCALE[low + 1] - SCALE[low]) * (position - low)
    return f"#{round(red):02x}{round(green):02x}{round(blue):02x}"


def _cell(box: Box, value: float, head: str, ink: str) -> list[Box | Text]:
    box = replace(box, tip=f"{head}: {value:.4f}".lstrip(": "))
    if value < 0.005:
        return [box]
    return [box, Text(box.x + box.width / 2, box.y + box.height / 2, f"{value:.2f}", 12, "middle", ink)]


def _legend(x: float, y: float, largest: float) -> list[Box | Text]:
    steps, height = 40, 120
    each = height / steps
    bar: list[Box | Text] = [
        Box(x, y + height - each * (step + 1), 14, each + 0.5, colour(step / (steps - 1)))
        for step in range(steps)
    ]
    ticks = [
        Text(
            x + 20, y + height * (1 - share) + (6 if share else -6) * (share in (0, 1)), text, 11, fill=FAINT
        )
        for share, text in ((1.0, f"{largest:.2f}"), (0.5, f"{largest / 2:.2f}"), (0.0, "0"))
    ]
    return [*bar, *ticks]
