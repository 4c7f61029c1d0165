"""An attention as a heat map: one row for each thing looked at, one column for each look.

The axis with the longer labels runs down the page, so sentences are read as sentences.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from server.api.drawing import Box, Drawing, Shape, Text, shorten, text_width

ROW = 26
CELL = 64
MARGIN = 24
LEGEND = 120
LABEL_CHARACTERS = 72
TITLE_CHARACTERS = 110
MOST_ROWS = 200
"""Rows shown at most; of a longer story those with the largest weights are kept, in order."""
MOST_COLUMNS = 60

INK, FAINT = "#1f2328", "#656d76"
SCALE = np.array(
    [[247, 251, 255], [198, 219, 239], [107, 174, 214], [33, 113, 181], [8, 48, 107]], dtype=np.float64
)
"""Colours from no weight to the largest: ColorBrewer's sequential Blues."""

Weights = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Grid:
    """What is shown: one row of ``values`` for each thing looked at, one column for each look."""

    values: Weights
    labels: list[str]
    numbers: list[int]
    heads: list[str]

    def strongest(self, most: int) -> Grid:
        """Return the ``most`` rows with the largest weights, in their order."""
        kept = np.sort(np.argsort(self.values.max(axis=1))[-most:]).tolist()
        labels, numbers = [self.labels[row] for row in kept], [self.numbers[row] for row in kept]
        return Grid(self.values[kept], labels, numbers, self.heads)


def heat_map(
    weights: Weights, axes: list[tuple[str, list[str]]], title: str, subtitle: str, offset: int = 0
) -> Drawing:
    """Lay an attention out as a heat map.

    Args:
        weights: [A, B], or [B] for a single look.
        axes: for each axis its name and one label per entry.
        title: the answer, as a headline.
        subtitle: which model, which kind of attention.
        offset: entries of the last axis that were cut off before the first; they count in the row numbers.
    """
    (across, columns), (_, rows) = axes if len(axes) == 2 else [("", [""]), *axes]
    counted = all(column.isdigit() or not column for column in columns)
    heads = [
        shorten(f"{across} {column}".strip() if counted else column, 14) for column in columns[:MOST_COLUMNS]
    ]
    labels = [shorten(row, LABEL_CHARACTERS) for row in rows]
    values = np.atleast_2d(weights).T[:, :MOST_COLUMNS]
    grid = Grid(values, labels, list(range(offset + 1, offset + 1 + len(rows))), heads)
    if len(rows) > MOST_ROWS:
        grid, subtitle = grid.strongest(MOST_ROWS), f"{subtitle}; the {MOST_ROWS} strongest of {len(rows)}"
    return _lay_out(grid, shorten(title, TITLE_CHARACTERS), subtitle)


def _lay_out(grid: Grid, title: str, subtitle: str) -> Drawing:
    numbers_end = MARGIN + 8 + text_width(str(grid.numbers[-1]), 12)
    labels_start = numbers_end + 12
    left = labels_start + max(text_width(label, 13) for label in grid.labels) + 12
    top = MARGIN + 84
    cell = max(CELL, *(text_width(head, 13) + 12 for head in grid.heads))
    legend = left + cell * len(grid.heads) + 28
    largest = float(grid.values.max(initial=0.0)) or 1.0
    shapes: list[Shape] = [
        Text(MARGIN, MARGIN + 12, title, 18, bold=True),
        Text(MARGIN, MARGIN + 38, subtitle, 12, fill=FAINT),
    ]
    for column, head in enumerate(grid.heads):
        shapes.append(Text(left + cell * (column + 0.5), top - 14, head, 13, "middle", FAINT))
    for row, (number, label, values) in enumerate(zip(grid.numbers, grid.labels, grid.values, strict=True)):
        y = top + ROW * row
        shapes.append(Text(numbers_end, y + ROW / 2, str(number), 12, "end", FAINT))
        shapes.append(Text(labels_start, y + ROW / 2, label, 13, bold=bool(values.max() >= 0.5 * largest)))
        for column, value in enumerate(values.tolist()):
            box = Box(left + cell * column + 1, y + 1, cell - 2, ROW - 2, colour(value / largest))
            shapes += _cell(box, value, grid.heads[column], "#ffffff" if value > 0.55 * largest else INK)
    shapes += _legend(legend, top, largest)
    width = max(legend + 64, MARGIN + text_width(title, 18), MARGIN + text_width(subtitle, 12)) + MARGIN
    height = max(ROW * len(grid.labels), LEGEND) + top + MARGIN
    return Drawing(round(width), round(height), title, shapes)


def colour(share: float) -> str:
    """Return the colour of a share of the largest weight, 0..1, as ``#rrggbb``."""
    position = min(max(share, 0.0), 1.0) * (len(SCALE) - 1)
    low = min(int(position), len(SCALE) - 2)
    red, green, blue = SCALE[low] + (SCALE[low + 1] - SCALE[low]) * (position - low)
    return f"#{round(red):02x}{round(green):02x}{round(blue):02x}"


def _cell(box: Box, value: float, head: str, ink: str) -> list[Shape]:
    box = replace(box, tip=f"{head}: {value:.4f}".lstrip(": "))
    if value < 0.005:
        return [box]
    return [box, Text(box.x + box.width / 2, box.y + box.height / 2, f"{value:.2f}", 12, "middle", ink)]


def _legend(x: float, y: float, largest: float) -> list[Shape]:
    steps = 40
    each = LEGEND / steps
    bar: list[Shape] = [
        Box(x, y + LEGEND - each * (step + 1), 14, each + 0.5, colour(step / (steps - 1)))
        for step in range(steps)
    ]
    places = ((6, largest), (LEGEND / 2, largest / 2), (LEGEND - 6, 0.0))
    return bar + [Text(x + 20, y + place, f"{weight:.2f}", 11, fill=FAINT) for place, weight in places]
