"""``engram compute``: digits in, digits out, and how the memory was rewritten on the way."""

from __future__ import annotations

import math
from itertools import zip_longest
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.text import Text

from engram.attention import Attention
from engram.cli import report
from engram.cli.common import EXIT_CODES, Json, Timeout, Url, connect, console, warn
from engram.cli.heat import heat_style
from engram.computing import ComputeAnswer, ComputeOptions, Operation
from engram.options import DEFAULT_TIMEOUT_S

EXAMPLES = (
    "[bold]Examples[/bold]\n\n"
    "  engram compute add 1011 110\n\n"
    "  engram compute multiply 11011 1010 --json | jq -r .result\n\n" + EXIT_CODES
)
WIDEST = 100
"""More cells than this are not drawn: a terminal has no place for them."""


def compute(
    context: typer.Context,
    *,
    operation: Annotated[Operation, typer.Argument(help="What to compute.", show_default=False)],
    operands: Annotated[
        list[str],
        typer.Argument(
            help="Digits, most significant first: two numbers, or a sequence.", show_default=False
        ),
    ],
    base: Annotated[
        Literal["2", "10"], typer.Option("--base", help="The digits are 0 and 1, or 0 to 9.")
    ] = "2",
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="NAME", help="A model (or NAME:VERSION) instead of the default."),
    ] = None,
    as_json: Json = False,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    url: Url = None,
) -> None:
    """Let a network compute: it has learnt the operation from short examples.

    Prints the result, its probability,
    and for each step how much of each cell was rewritten.
    """
    options: ComputeOptions = {"base": 10 if base == "10" else 2, "model": model}
    with connect(context, url, timeout) as client:
        answer = client.compute(operation, *operands, **options)
        warn(answer.warnings)
        if as_json:
            report.write_json(answer.raw)
        else:
            show(console(), answer)


def show(out: Console, answer: ComputeAnswer) -> None:
    """Print the result and the activity of the memory, a line for each step, in tenths."""
    out.print()
    out.print(Text.assemble((answer.result, "bold green"), "  ", (f"{answer.score:.3f}", "bold")))
    if answer.attention is not None and len(answer.attention.axes[-1].labels) <= WIDEST:
        out.print()
        for line in activity(answer.attention):
            out.print(line)
        out.print(Text("tenths of each cell that were rewritten, step by step", style="dim"))
    timing = answer.timing_ms
    parts = [f"{answer.steps} steps", str(answer.model or "")]
    parts += [f"{timing.total:.1f} ms in the server"] if timing else []
    out.print(Text("   ".join(filter(None, parts)), style="dim"))


def activity(attention: Attention) -> list[Text]:
    """Return what stood in the cells at first, read downwards, and below it a row of tenths for each step."""
    steps, cells = attention.axes
    width = max(map(len, steps.labels))
    lines = [
        Text(" " * width + "  " + "".join(signs).rstrip(), style="bold")
        for signs in zip_longest(*cells.labels, fillvalue=" ")
    ]
    for label, row in zip(steps.labels, attention.weights.tolist(), strict=True):
        line = Text(f"{label:>{width}}  ", style="dim")
        for weight in row:
            sent = not math.isnan(weight)
            line.append(str(min(9, int(10 * weight))) if sent else "·", heat_style(weight) if sent else "dim")
        lines.append(line)
    return lines
