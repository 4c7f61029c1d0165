"""Points and the ways between them, drawn in the terminal with Braille dots: two columns, four rows each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.text import Text

Place = tuple[float, float]
Cell = tuple[int, int]

COLUMNS, ROWS = 56, 18
"""Cells of the drawing; a cell is about twice as high as it is wide, and so is its grid of dots."""

BRAILLE = 0x2800
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot of a cell, by row and column."""

MOST_NUMBERED = 100


def plane(points: Sequence[Place], sides: Iterable[tuple[int, int]], chosen: set[int]) -> list[Text]:
    """Draw points, with their numbers, and sides between them; y grows upwards.

    Args:
        points: where they are.
        sides: pairs of points to be joined.
        chosen: points to be made bold.
    """
    dots = _on_grid(points)
    bits: dict[Cell, int] = {}
    for one, other in sides:
        for x, y in _between(dots[one], dots[other]):
            cell = (y // 4, x // 2)
            bits[cell] = bits.get(cell, 0) | DOTS[y % 4][x % 2]
    labels: dict[Cell, tuple[str, str]] = {}
    for number, (x, y) in enumerate(dots):
        style = "bold green" if number in chosen else "dim"
        name = str(number) if len(points) <= MOST_NUMBERED else "*"
        for place, character in enumerate(name):
            labels[y // 4, x // 2 + place] = (character, style)
    rows = 1 + max(row for row, _ in [*bits, *labels])
    columns = 1 + max(column for _, column in [*bits, *labels])
    return [_line(row, columns, bits, labels) for row in range(rows)]


def _line(row: int, columns: int, bits: dict[Cell, int], labels: dict[Cell, tuple[str, str]]) -> Text:
    line = Text()
    for column in range(columns):
        character, style = labels.get((row, column), ("", ""))
        own = bits.get((row, column), 0)
        line.append(character or (chr(BRAILLE + own) if own else " "), style or "cyan")
    line.rstrip()
    return line


def _on_grid(points: Sequence[Place]) -> list[Cell]:
    """Scale points into the grid of dots, both axes alike."""
    lowest = [min(point[axis] for point in points) for axis in (0, 1)]
    extents = [max(point[axis] for point in points) - lowest[axis] for axis in (0, 1)]
    sizes = (2 * COLUMNS - 1, 4 * ROWS - 1)
    ratios = [size / extent for size, extent in zip(sizes, extents, strict=True) if extent > 0]
    scale = min(ratios, default=0.0)
    height = round(extents[1] * scale)
    return [(round((x - lowest[0]) * scale), height - round((y - lowest[1]) * scale)) for x, y in points]


def _between(start: Cell, end: Cell) -> list[Cell]:
    """Return the dots of a straight line."""
    steps = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
    return [
        (
            round(start[0] + (end[0] - start[0]) * step / steps),
            round(start[1] + (end[1] - start[1]) * step / steps),
        )
        for step in range(steps + 1)
    ]
