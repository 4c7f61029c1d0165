"""``engram complete``: a text in, the words that come next out, each with where it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, cast

import numpy as np
import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engram.attention import Attention
from engram.cli import inputs, report
from engram.cli.common import EXIT_CODES, Json, Timeout, Url, connect, console, save, warn
from engram.cli.failures import UsageProblem
from engram.cli.heat import heat_style, readable
from engram.client import Client
from engram.completing import CompleteOptions, Completion, WrittenWord
from engram.options import DEFAULT_TIMEOUT_S

EXAMPLES = (
    "[bold]Examples[/bold]\n\n"
    '  engram complete "The"\n\n'
    '  engram complete "The ship" --words 30 --temperature 0.8 --seed 5\n\n'
    '  engram complete "Ada Byron sailed to Lisbon. In Lisbon, Ada" --then "Byron wrote"\n\n'
    "  cat chapter.txt | engram complete - --state chapter.state\n\n"
    '  engram complete "The ship" --json | jq .words\n\n' + EXIT_CODES
)
PLACES = 3
"""Places of the window shown for a word."""

FAINT = 0.005
"""Places with less weight are not shown."""


def complete(
    context: typer.Context,
    *,
    text: Annotated[str, typer.Argument(help="The text, or - for standard input.", show_default=False)],
    words: Annotated[
        int | None, typer.Option("--words", "-n", metavar="N", min=1, help="How many words to write.")
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option("--temperature", metavar="T", min=0, help="0: the most probable words; 1: drawn."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", min=0, help="The same seed draws the same words.")
    ] = None,
    then: Annotated[
        str | None,
        typer.Option("--then", metavar="TEXT", help="Do not write: say how probable this continuation is."),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="FILE", help="Go on from this file, if there is one, and keep it."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="NAME", help="A model (or NAME:VERSION) instead of the default."),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            "--picture", metavar="FILE", help="Also draw the attention into this .svg or .png file."
        ),
    ] = None,
    as_json: Json = False,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    url: Url = None,
) -> None:
    """Let a language model go on with a text.

    Prints the text as it grows, and for each word its probability,
    how much of it was copied from the words before, and from where.
    """
    given = {
        "max_words": words,
        "temperature": temperature,
        "seed": seed,
        "then": then,
        "model": model,
        "state": _read_state(state),
        "return_state": None if state else False,
    }
    options = cast(CompleteOptions, {name: value for name, value in given.items() if value is not None})
    drawn = (picture, inputs.picture_format(picture)) if picture else None
    beginning = inputs.read_text(text, "text") if text == inputs.STDIN else text
    with connect(context, url, timeout) as client:
        if as_json:
            answer = client.complete(beginning, **options)
            report.write_json(answer.raw)
        else:
            answer = _show(console(), client, beginning, options)
        warn(answer.warnings)
        if state and answer.state:
            _write_state(state, answer.state)
        if drawn:
            path, form = drawn
            save(client.complete_picture(beginning, format=form, **options), path)


def _show(out: Console, client: Client, text: str, options: CompleteOptions) -> Completion:
    """Print the text as it grows, then a table of its words."""
    out.print()
    out.print(Text(readable(text), style="dim"), end="", soft_wrap=True)
    answer: Completion | None = None
    try:
        for event in client.complete_stream(text, **options):
            if isinstance(event, WrittenWord):
                out.print(shaded(event), end="", soft_wrap=True)
            else:
                answer = event
    finally:
        out.print()  # an error does not go on in the line of the text
    assert answer is not None
    out.print()
    out.print(word_table(answer))
    timing = answer.timing_ms
    parts = [
        f"score {answer.score:.3f}",
        str(answer.model or ""),
        f"{timing.total:.1f} ms in the server" if timing else "",
    ]
    out.print(Text("   ".join(filter(None, parts)), style="dim"))
    return answer


def shaded(word: WrittenWord) -> Text:
    """Return what a word adds to the text, shaded by how much of it was copied."""
    copied = word.from_pointer / word.probability if word.probability > 0 else 0.0
    lead = len(word.text) - len(word.text.lstrip())
    return Text(word.text[:lead]).append(readable(word.text[lead:]), style=heat_style(copied))


def word_table(answer: Completion) -> Table:
    """List the words with their probability, how much was copied and from where, and what else might come."""
    table = Table(
        "word", "probability", "copied", "gate", "copied from", "or", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for column in table.columns[1:4]:
        column.justify = "right"
    for word in answer.words:
        copied = word.from_pointer / word.probability if word.probability > 0 else 0.0
        others = [str(other) for other in word.alternatives if other.word != word.word][:PLACES]
        table.add_row(
            Text(readable(word.word), style="bold"),
            f"{word.probability:.3f}",
            Text(f"{copied:.0%}", style=heat_style(copied)),
            f"{word.sentinel_gate:.2f}",
            Text(readable("  ".join(places(word.attention)))),
            Text(readable(", ".join(others)), style="dim"),
        )
    return table


def places(attention: Attention | None) -> Iterator[str]:
    """Yield the strongest places of the window, the sentinel left out, as ``word 0.12``."""
    if attention is None:
        return
    weights = np.nan_to_num(attention.weights).reshape(-1)[:-1]
    for place in np.argsort(-weights, kind="stable")[:PLACES]:
        if weights[place] >= FAINT:
            yield f"{attention.axes[-1].labels[place]} {weights[place]:.2f}"


def _read_state(path: Path | None) -> str | None:
    if path is None or not path.exists():
        return None
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise UsageProblem(f"cannot read the state in {str(path)!r}: {error}") from error


def _write_state(path: Path, state: str) -> None:
    try:
        path.write_text(state + "\n", encoding="ascii")
    except OSError as error:
        raise UsageProblem(f"cannot write {str(path)!r}: {error.strerror}") from error
