"""``engram compare``: one request, a row for what each model answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engram.cli import inputs, report
from engram.cli.common import EXIT_CODES, Json, Timeout, Url, connect, console, save
from engram.cli.failures import UsageProblem, complain, exit_code, sentence
from engram.cli.heat import readable
from engram.comparing import Compared, Comparison
from engram.options import DEFAULT_TIMEOUT_S
from engram.results import ItemError

EXAMPLES = (
    "[bold]Examples[/bold]\n\n"
    '  engram compare translate \'{"text": "A dog runs.", "target": "fr"}\'\n\n'
    "  engram compare qa question.json --model dmn-plus-babi --model dmn-plus-babi:2\n\n"
    '  echo \'{"operation": "add", "operands": ["101", "11"]}\' | engram compare compute -\n\n'
    '  engram compare translate \'{"text": "A dog runs.", "target": "fr"}\' --picture both.svg\n\n'
    + EXIT_CODES
)


def compare(
    context: typer.Context,
    *,
    task: Annotated[
        str, typer.Argument(metavar="TASK", help="What to do: qa, translate, read, …", show_default=False)
    ],
    request: Annotated[
        str,
        typer.Argument(
            metavar="REQUEST",
            help="What the task's endpoint takes: a JSON object, a file with one, or -.",
            show_default=False,
        ),
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            help="A model; give it often. Without, all that do what is asked.",
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option("--picture", metavar="FILE", help="Also draw what they looked at, into .svg or .png."),
    ] = None,
    as_json: Json = False,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    url: Url = None,
) -> None:
    """Put one request to several models, and show their answers side by side.

    Prints for each model what it answers, how sure it is and how long it took.
    A model that cannot answer says why, and spoils only its own row.
    """
    drawn = (picture, inputs.picture_format(picture)) if picture else None
    body = _object(request)
    with connect(context, url, timeout) as client:
        compared = client.compare(task, body, model or None)
        if as_json:
            report.write_json(compared.raw)
        else:
            show(console(), compared)
        if drawn:
            save(client.compare_picture(task, body, model or None, format=drawn[1]), drawn[0])
    failures = [one for one in compared.results.values() if isinstance(one, ItemError)]
    if failures and len(failures) == len(compared.results):
        complain("no model has an answer")
        raise typer.Exit(exit_code(failures[0].as_exception()))


def show(out: Console, compared: Comparison) -> None:
    """Print a row for each model."""
    table = Table("model", "answer", "score", "ms", box=box.SIMPLE_HEAD, pad_edge=False)
    table.columns[2].justify = table.columns[3].justify = "right"
    for name, result in compared.results.items():
        if isinstance(result, ItemError):
            why = Text(readable(sentence(result.as_exception())), style="red")
            table.add_row(Text(readable(name)), why, "", "")
            continue
        score, timing = getattr(result, "score", None), getattr(result, "timing_ms", None)
        table.add_row(
            Text(readable(name)),
            Text(readable(headline(result)), style="bold green"),
            "" if score is None else f"{score:.3f}",
            "" if timing is None else f"{timing.total:.1f}",
        )
    out.print(table)


def headline(result: Compared) -> str:
    """Return what a model said, in a line."""
    for name in ("answer", "text", "result", "indices"):
        if (said := getattr(result, name, None)) is not None:
            return " ".join(map(str, said)) if isinstance(said, tuple) else str(said)
    if isinstance(result, Mapping) and "translations" in result:
        return " / ".join(str(one.get("text", one.get("error"))) for one in result["translations"])
    return json.dumps(result, ensure_ascii=False)


def _object(request: str) -> dict[str, Any]:
    text = request if request.lstrip().startswith("{") else inputs.read_text(request, "request")
    try:
        body = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise UsageProblem(f"the request is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise UsageProblem('the request is not a JSON object, such as {"text": "A dog runs."}')
    return body


def _no_number(name: str) -> float:
    raise ValueError(f"it has no {name}")
