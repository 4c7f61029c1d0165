"""The commands: arguments in, one call or a batch of calls, a report out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from engram import __version__
from engram.calls import QaOptions, QaRequest
from engram.cli import inputs, report
from engram.cli.batch import app as batch_app
from engram.cli.bulk import progress_over
from engram.cli.common import EXIT_CODES, Json, Timeout, Url, connect, console, save, warn
from engram.cli.compare import EXAMPLES as COMPARE_EXAMPLES
from engram.cli.compare import compare
from engram.cli.complete import EXAMPLES as COMPLETE_EXAMPLES
from engram.cli.complete import complete
from engram.cli.compute import EXAMPLES as COMPUTE_EXAMPLES
from engram.cli.compute import compute
from engram.cli.failures import Commands, UsageProblem, complain, exit_code
from engram.cli.point import EXAMPLES as POINT_EXAMPLES
from engram.cli.point import point
from engram.cli.read import EXAMPLES as READ_EXAMPLES
from engram.cli.read import read
from engram.cli.translate import EXAMPLES as TRANSLATE_EXAMPLES
from engram.cli.translate import translate
from engram.client import Client
from engram.options import DEFAULT_TIMEOUT_S
from engram.results import ItemError

QUESTIONS_AT_ONCE = 64
"""Questions in one HTTP request: enough to be fast, few enough for the progress bar to move."""

app = typer.Typer(
    cls=Commands,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    add_completion=False,
    epilog=EXIT_CODES,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"engram {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Ask an Engram server questions, and see where the model looked.

    The server is at [bold]ENGRAM_URL[/bold] (http://127.0.0.1:8000 unless it is set);
    [bold]ENGRAM_API_KEY[/bold] is sent if it is set.
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(
    epilog=(
        "[bold]Examples[/bold]\n\n"
        '  engram ask story.txt "Where is the milk?"\n\n'
        '  cat story.txt | engram ask - "Where is the milk?"\n\n'
        '  engram ask story.txt "Where is the milk?" --json | jq .evidence\n\n'
        '  engram ask story.txt "Where is the milk?" --picture milk.svg\n\n'
        "  engram ask story.txt --questions questions.txt\n\n" + EXIT_CODES
    )
)
def ask(
    context: typer.Context,
    *,
    story: Annotated[str, typer.Argument(help="A text file, or - for standard input.", show_default=False)],
    question: Annotated[str | None, typer.Argument(help="The question.", show_default=False)] = None,
    questions: Annotated[
        str | None,
        typer.Option("--questions", metavar="FILE", help="Ask every line of a file (or -) about the story."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="NAME", help="A model (or NAME:VERSION) instead of the default."),
    ] = None,
    attention: Annotated[
        Literal["full", "top", "none"] | None,
        typer.Option(
            "--attention", help="All weights, the largest of each hop, or none.", show_default=False
        ),
    ] = None,
    truncate: Annotated[
        Literal["none", "oldest"] | None,
        typer.Option(
            "--truncate",
            help="A story too long: refuse it, or leave out its first sentences.",
            show_default=False,
        ),
    ] = None,
    unknown_words: Annotated[
        Literal["error", "map"] | None,
        typer.Option(
            "--unknown-words",
            help="Words the model never saw: refuse them, or answer anyway.",
            show_default=False,
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            "--picture", metavar="FILE", help="Also draw the attention into this .svg or .png file."
        ),
    ] = None,
    show_all: Annotated[bool, typer.Option("--all", help="Show every sentence of a long story.")] = False,
    as_json: Json = False,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    url: Url = None,
) -> None:
    """Ask about a story: one sentence per line, or running text.

    Prints the answer, its probability, and where the model looked:
    the weight of every sentence in every hop, the evidence marked,
    and what the model would have answered after each hop.
    """
    given = {"model": model, "attention": attention, "truncate": truncate, "unknown_words": unknown_words}
    options = cast(QaOptions, {name: value for name, value in given.items() if value is not None})
    if (question is None) == (questions is None):
        raise UsageProblem('give one question ("Where is the milk?") or --questions FILE')
    if questions is not None:
        if picture is not None:
            raise UsageProblem("--picture draws one question, not --questions")
        if story == questions == inputs.STDIN:
            raise UsageProblem("the story and the questions cannot both come from standard input")
        asked = inputs.read_questions(questions)
        text = inputs.read_story(story)
        with connect(context, url, timeout) as client:
            _ask_many(client, text, asked, options, as_json)
    else:
        drawn = (picture, inputs.picture_format(picture)) if picture else None
        text = inputs.read_story(story)
        with connect(context, url, timeout) as client:
            answer = client.ask(text, str(question), **options)
            warn(answer.warnings)
            if as_json:
                report.write_json(answer.raw)
            else:
                report.show_answer(console(), str(question), answer, show_all)
            if drawn:
                path, form = drawn
                unbound = cast(QaOptions, {name: given[name] for name in options if name != "attention"})
                save(client.picture(text, str(question), format=form, **unbound), path)


@app.command(epilog="[bold]Examples[/bold]\n\n  engram models\n\n  engram models --json | jq '.[].name'")
def models(
    context: typer.Context, as_json: Json = False, timeout: Timeout = DEFAULT_TIMEOUT_S, url: Url = None
) -> None:
    """List the server's models: what they do, whether they answer, what they take."""
    with connect(context, url, timeout) as client:
        found = client.models()
    if as_json:
        report.write_json([model.raw for model in found])
    else:
        report.show_models(console(), found)


@app.command(
    epilog="[bold]Examples[/bold]\n\n  engram vocabulary dmn-plus-babi\n\n"
    "  engram vocabulary dmn-plus-babi | grep milk"
)
def vocabulary(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="The model's name; see engram models.", show_default=False)],
    as_json: Json = False,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    url: Url = None,
) -> None:
    """List the words a model knows; a story and its questions may use only these."""
    with connect(context, url, timeout) as client:
        words = client.vocabulary(model)
    if as_json:
        report.write_json(words)
    else:
        report.show_words(console(), words)


def _ask_many(client: Client, story: str, questions: list[str], options: QaOptions, as_json: bool) -> None:
    """Ask in batches behind a progress bar; leave with the code of the first failure, if there is one."""
    rows: list[report.Row] = []
    failed: ItemError | None = None
    failures = 0
    settings: QaOptions = {"attention": "none", **options}
    with progress_over("asking", len(questions)) as advance:
        for start in range(0, len(questions), QUESTIONS_AT_ONCE):
            some = questions[start : start + QUESTIONS_AT_ONCE]
            requests: list[QaRequest] = [
                {"story": story, "question": question, **settings} for question in some
            ]
            for question, result in zip(some, client.ask_many(requests), strict=True):
                if isinstance(result, ItemError):
                    failed, failures = failed or result, failures + 1
                if as_json:
                    report.write_json(report.payload_of(question, result))
                else:
                    rows.append(report.row_of(question, result))
            advance(len(some))
    if not as_json:
        report.show_answers(console(), rows)
    if failed is not None:
        complain(f"{failures} of {len(questions)} questions have no answer")
        raise typer.Exit(exit_code(failed.as_exception()))


app.command(epilog=READ_EXAMPLES)(read)
app.command(epilog=COMPUTE_EXAMPLES)(compute)
app.command(epilog=COMPLETE_EXAMPLES)(complete)
app.command(epilog=POINT_EXAMPLES)(point)
app.command(epilog=TRANSLATE_EXAMPLES)(translate)
app.command(epilog=COMPARE_EXAMPLES)(compare)
app.add_typer(batch_app, name="batch")
