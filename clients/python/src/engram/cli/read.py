"""``engram read``: a document and a cloze in, the answer and the shaded document out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, cast

import numpy as np
import typer
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from engram.attention import Attention
from engram.cli import inputs, report
from engram.cli.common import EXIT_CODES, Json, Timeout, Url, connect, console, save, warn
from engram.cli.heat import COLDEST_WEIGHT, heat_style, readable
from engram.options import DEFAULT_TIMEOUT_S
from engram.reading import Mention, ReadAnswer, ReadOptions, places_of

PLACEHOLDER = "@placeholder"
EXAMPLES = (
    "[bold]Examples[/bold]\n\n"
    '  engram read article.txt "The @placeholder lives in the sea."\n\n'
    '  engram read article.txt "The @placeholder lives in the sea." --candidate lobster --candidate crab\n\n'
    '  cat article.txt | engram read - "Where does it live?" --json | jq .candidates\n\n'
    '  engram read article.txt "The @placeholder lives in the sea." --picture article.svg\n\n' + EXIT_CODES
)
MOST_LINES = 12
"""A document of up to so many lines is shown whole, a longer one where it was looked at."""


def read(
    context: typer.Context,
    *,
    document: Annotated[
        str, typer.Argument(help="A text file, or - for standard input.", show_default=False)
    ],
    question: Annotated[
        str, typer.Argument(help=f"A sentence with {PLACEHOLDER}, or a plain question.", show_default=False)
    ],
    candidate: Annotated[
        list[str] | None,
        typer.Option("--candidate", "-c", metavar="WORDS", help="What the answer may be; give it often."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="NAME", help="A model (or NAME:VERSION) instead of the default."),
    ] = None,
    unknown_words: Annotated[
        Literal["slots", "map", "error"] | None,
        typer.Option(
            "--unknown-words",
            help="Words the model never saw: tell them apart, list them too, or refuse them.",
            show_default=False,
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option("--picture", metavar="FILE", help="Also draw the document into this .svg or .png file."),
    ] = None,
    show_all: Annotated[bool, typer.Option("--all", help="Show every line of a long document.")] = False,
    as_json: Json = False,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    url: Url = None,
) -> None:
    """Ask about a document: the answer is a word of it.

    Prints the answer, its probability, the other candidates,
    and the document with the words that were looked at.
    """
    given = {"candidates": candidate or None, "model": model, "unknown_words": unknown_words}
    options = cast(ReadOptions, {name: value for name, value in given.items() if value is not None})
    drawn = (picture, inputs.picture_format(picture)) if picture else None
    text = inputs.read_text(document, "document")
    with connect(context, url, timeout) as client:
        answer = client.read(text, question, **options)
        warn(answer.warnings)
        if as_json:
            report.write_json(answer.raw)
        else:
            show(console(), text, question, answer, show_all)
        if drawn:
            path, form = drawn
            save(client.read_picture(text, question, format=form, **options), path)


def show(out: Console, document: str, question: str, answer: ReadAnswer, show_all: bool) -> None:
    """Print the answer in its place, the candidates, and the document shaded by attention."""
    out.print()
    out.print(filled(question, answer.answer))
    out.print(Text.assemble((readable(answer.answer), "bold green"), "  ", (f"{answer.score:.3f}", "bold")))
    if answer.attention is not None:
        out.print()
        best = answer.candidates[0].positions if answer.candidates else ()
        for line in shaded_lines(document, answer.attention, best, show_all):
            out.print(line)
    out.print(candidate_table(answer))
    timing = answer.timing_ms
    parts = [str(answer.model or ""), f"{timing.total:.1f} ms in the server" if timing else ""]
    out.print(Text("   ".join(filter(None, parts)), style="dim"))


def filled(question: str, answer: str) -> Text:
    """Return the question with the answer where it was missing."""
    before, placeholder, after = question.partition(PLACEHOLDER)
    text = Text(readable(before), style="dim")
    if placeholder:
        text.append(readable(answer), style="bold green")
    return text.append(readable(after), style="dim")


def candidate_table(answer: ReadAnswer) -> Table:
    """List the candidates with their probability and number of mentions."""
    table = Table("candidate", "score", "mentions", box=box.SIMPLE_HEAD, pad_edge=False)
    table.columns[1].justify = table.columns[2].justify = "right"
    for item in answer.candidates:
        table.add_row(Text(readable(item.text)), f"{item.score:.3f}", str(len(item.positions)))
    return table


def shaded_lines(
    document: str, attention: Attention, answer: Sequence[Mention], show_all: bool
) -> list[Text]:
    """Return the document's lines; a word that was looked at is shaded and followed by its weight.

    Args:
        document: The text.
        attention: Its weights, one for each word.
        answer: The places of the answer, which are underlined.
        show_all: Keep every line of a long document, not only those that were looked at.
    """
    weights: NDArray[np.float32] = np.nan_to_num(attention.weights).reshape(-1)
    places = places_of(attention.axes[-1].labels, document)
    lines: list[Text] = []
    start = skipped = 0
    several = document.count("\n") >= MOST_LINES
    for line in document.splitlines(keepends=True):
        end = start + len(line)
        own = [
            (place, float(weights[token])) for token, place in enumerate(places) if start <= place[0] < end
        ]
        looked_at = any(weight >= COLDEST_WEIGHT for _, weight in own)
        if looked_at or show_all or not several:
            if skipped:
                lines.append(_gap(skipped))
            lines.append(_shaded(document, (start, end), own, answer))
            skipped = 0
        else:
            skipped += 1
        start = end
    return [*lines, _gap(skipped)] if skipped else lines


def _shaded(
    document: str,
    line: tuple[int, int],
    words: Sequence[tuple[tuple[int, int], float]],
    answer: Sequence[Mention],
) -> Text:
    text, at = Text(), line[0]
    for (start, end), weight in words:
        text.append(readable(document[at:start]))
        said = any(mention.start <= start < mention.end for mention in answer)
        hot = weight >= COLDEST_WEIGHT
        style = (heat_style(weight) if hot else Style()) + Style(underline=said, bold=said)
        text.append(readable(document[start:end]), style=style)
        if hot:
            text.append(f" {weight:.2f}", style="dim")
        at = end
    return text.append(readable(document[at : line[1]].rstrip("\r\n")))


def _gap(lines: int) -> Text:
    return Text(f"… {lines} more lines that were not looked at", style="dim italic")
