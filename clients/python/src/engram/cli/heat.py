"""Attention as a table in the terminal: sentences down, hops across, weights as numbers on heat.

The numbers carry everything; colour only helps the eye, so the table reads the same without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.style import Style
from rich.table import Column, Table
from rich.text import Text

from engram.attention import Attention
from engram.results import ScoredAnswer

MOST_ROWS = 24
"""A story of up to so many sentences is shown whole; a longer one where it has heat, the rest counted."""

FEWEST_ROWS = 3
"""Sentences shown of a long story without any heat."""

COLD_RGB, HOT_RGB = (110, 104, 100), (214, 76, 8)
"""Grey to orange: its strength is its saturation, so it reads the same on dark and light terminals."""

COLDEST_WEIGHT = 0.05
"""Below this a weight has no colour, and a sentence of a long story is not shown."""


def heat_table(
    attention: Attention, hops: Sequence[ScoredAnswer], evidence: Set[int], mark: str, show_all: bool
) -> Table:
    """Draw two-dimensional attention.

    Args:
        attention: The axes are columns and rows: hop, fact.
        hops: What the model would have answered after each column.
        evidence: Indices in the story (from 0) of the sentences to mark.
        mark: The sign for them.
        show_all: Show every sentence of a long story.
    """
    columns, rows = attention.axes
    weights = np.nan_to_num(attention.weights, nan=-1.0)
    answers = [readable(hop.answer) for hop in hops] if len(hops) == len(columns) else []
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_footer=bool(answers), footer_style="bold")
    table.add_column("")
    table.add_column("#", justify="right", style="dim")
    table.add_column(
        rows.name, footer=Text(f"answer after each {columns.name}", style="dim"), overflow="fold"
    )
    for number, label in enumerate(columns.labels):
        title = f"{columns.name} {label}"
        table.columns.append(_weight_column(len(table.columns), title, answers[number : number + 1]))
    shown = np.arange(len(rows)) if show_all else strongest_rows(weights, MOST_ROWS)
    for row in _with_gaps(shown, len(rows)):
        if isinstance(row, range):
            table.add_row("", "", _gap(weights[:, row.start : row.stop]))
            continue
        place = row + attention.offset
        marked = place in evidence
        sentence = Text(readable(rows.labels[row]), style="bold" if marked else "")
        cells = [heat_cell(float(weight)) for weight in weights[:, row]]
        table.add_row(Text(mark if marked else "", style="bold"), str(place + 1), sentence, *cells)
    return table


def strongest_rows(weights: NDArray[np.float32], most: int) -> NDArray[np.intp]:
    """Return the places of the rows to show, in story order: all, or at most so many that have heat."""
    largest = weights.max(axis=0)
    if len(largest) <= most:
        return np.arange(len(largest))
    strongest = np.argsort(-largest, kind="stable")[:most]
    warm = np.count_nonzero(largest[strongest] >= COLDEST_WEIGHT)
    return np.sort(strongest[: max(warm, FEWEST_ROWS)])


def heat_cell(weight: float) -> Text:
    """Write a weight on its heat; what was not sent is a dot."""
    if weight < 0:
        return Text("·", style="dim")
    text = f" {weight:.2f} "
    if weight < COLDEST_WEIGHT:
        return Text(text, style="dim")
    return Text(text, style=heat_style(weight))


def heat_style(weight: float) -> Style:
    """Return the style of what has this weight, 0..1."""
    red, green, blue = (
        round(cold + (hot - cold) * min(weight, 1.0)) for cold, hot in zip(COLD_RGB, HOT_RGB, strict=True)
    )
    return Style(color="#ffffff", bgcolor=f"rgb({red},{green},{blue})", bold=weight >= 0.5)


def readable(text: str) -> str:
    """Replace what a terminal would obey instead of show."""
    return "".join(character if character.isprintable() else " " for character in text)


def _weight_column(index: int, title: str, answer: Sequence[str]) -> Column:
    footer = Text(answer[0]) if answer else ""
    return Column(header=title, footer=footer, justify="center", no_wrap=True, _index=index)


def _with_gaps(shown: NDArray[np.intp], count: int) -> Iterator[int | range]:
    """Yield the rows to show, and the ranges of rows between them."""
    expected = 0
    for row in map(int, shown):
        if row > expected:
            yield range(expected, row)
        yield row
        expected = row + 1
    if expected < count:
        yield range(expected, count)


def _gap(weights: NDArray[np.float32]) -> Text:
    count, largest = weights.shape[1], max(float(weights.max()), 0.0)
    return Text(f"… {count} more, {largest:.2f} at most", style="dim italic")
