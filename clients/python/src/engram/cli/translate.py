"""``engram translate``: lines in, lines out; or one text, and where the model looked for every token."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer
from rich.console import Console
from rich.text import Text

from engram.cli import inputs, report
from engram.cli.alignment import alignment_lines
from engram.cli.common import EXIT_CODES, Json, Timeout, Url, connect, console, save, warn
from engram.cli.failures import UsageProblem, complain, exit_code
from engram.cli.heat import readable
from engram.cli.translate_lines import Destination, opened, translate_lines
from engram.client import Client
from engram.options import DEFAULT_TIMEOUT_S
from engram.translating import TranslatedToken, TranslateOptions, Translation

EXAMPLES = (
    "[bold]Examples[/bold]\n\n"
    "  engram translate book.txt --to fr > livre.txt\n\n"
    "  cat book.txt | engram translate --from en --to de --beam 4\n\n"
    '  engram translate --text "A dog runs over the grass." --to fr\n\n'
    '  engram translate --text "A dog runs." --to fr --picture dog.svg\n\n'
    "  engram translate book.txt --to fr --json | jq .score\n\n" + EXIT_CODES
)
MOST_SENTENCES = 3
"""Sentences of a text whose tokens are shown."""


def translate(
    context: typer.Context,
    *,
    source: Annotated[
        str,
        typer.Argument(metavar="FILE", help="A text file, or - for standard input.", show_default=False),
    ] = inputs.STDIN,
    text: Annotated[
        str | None, typer.Option("--text", "-t", metavar="TEXT", help="Translate this, and show every token.")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="LANGUAGE", help="The language to translate into: fr, de.")
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="LANGUAGE", help="The language of the text: en.")
    ] = None,
    beam: Annotated[
        int | None,
        typer.Option("--beam", metavar="N", min=1, help="How many translations are followed at a time."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="NAME", help="A model (or NAME:VERSION) instead of the default."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write here, not to the terminal.")
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            "--picture", metavar="FILE", help="Also draw what was looked at into this .svg or .png file."
        ),
    ] = None,
    show_all: Annotated[bool, typer.Option("--all", help="Show the tokens of every sentence.")] = False,
    as_json: Json = False,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    url: Url = None,
) -> None:
    """Translate a file line by line, or one text.

    Lines come out in the order they went in, each as soon as those before it are there:
    a file of any size takes little memory. Lines without a letter or a digit stay as they are.
    A line that cannot be translated comes out empty, and the reason goes to standard error.

    With --text, the translation is shown as it grows,
    and below it for each token where the model looked.
    """
    given = {"target": to, "source": from_, "beam_size": beam, "model": model}
    options = cast(TranslateOptions, {name: value for name, value in given.items() if value is not None})
    if text is None and picture is not None:
        raise UsageProblem("--picture draws one text: give it with --text")
    if text is not None:
        drawn = (picture, inputs.picture_format(picture)) if picture else None
        with connect(context, url, timeout) as client:
            _one(client, text, options, as_json, show_all)
            if drawn:
                save(client.translate_picture(text, format=drawn[1], **options), drawn[0])
        return
    lines, total = inputs.read_lines(source)
    with connect(context, url, timeout) as client, opened(output, source) as out:
        failed = translate_lines(client, lines, options, Destination(out, total, as_json))
    if failed is not None:
        complain(f"{failed.count} lines have no translation")
        raise typer.Exit(exit_code(failed.first.as_exception()))


def _one(client: Client, text: str, options: TranslateOptions, as_json: bool, show_all: bool) -> None:
    if as_json:
        answer = client.translate(text, **options)
        report.write_json(answer.raw)
    else:
        answer = _show(console(), client, text, options, show_all)
    warn(answer.warnings)


def _show(out: Console, client: Client, text: str, options: TranslateOptions, show_all: bool) -> Translation:
    """Print the translation as it grows, then what every token looked at."""
    out.print()
    answer: Translation | None = None
    try:
        for event in client.translate_stream(text, **options):
            if isinstance(event, TranslatedToken):
                out.print(Text(event.text, style="bold green"), end="", soft_wrap=True)
            else:
                answer = event
    finally:
        out.print()  # an error does not go on in the line of the translation
    assert answer is not None
    shown = answer.sentences if show_all else answer.sentences[:MOST_SENTENCES]
    for sentence in shown if answer.attention is not None else ():
        out.print()
        if len(answer.sentences) > 1:
            out.print(Text(readable(text[sentence.start : sentence.end]), style="dim"))
        for line in alignment_lines(answer, sentence, out.width):
            out.print(line, soft_wrap=True)
    if (more := len(answer.sentences) - len(shown)) > 0:
        out.print(Text(f"… {more} more sentences; --all shows their tokens", style="dim italic"))
    timing, kind = answer.timing_ms, answer.attention.kind.replace("_", " ") if answer.attention else ""
    parts = [
        f"score {answer.score:.3f}",
        "" if answer.finish_reason == "end" else "cut off",
        f"{kind}: what was rewritten, not attention" if kind == "memory activity" else kind,
        str(answer.model or ""),
        f"{timing.total:.1f} ms in the server" if timing else "",
    ]
    out.print()
    out.print(Text("   ".join(filter(None, parts)), style="dim"))
    return answer
