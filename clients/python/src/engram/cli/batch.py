"""``engram batch``: submit a file of requests, watch it, read its results, cancel it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, BinaryIO

import typer
from rich import box
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from engram.batches import Batch
from engram.cli import inputs, report
from engram.cli.common import EXIT_CODES, Json, Timeout, Url, connect, console
from engram.cli.failures import Commands, ExitCode, UsageProblem, complain
from engram.cli.heat import readable
from engram.client import Client
from engram.options import DEFAULT_TIMEOUT_S

app = typer.Typer(
    cls=Commands,
    help="Many requests in a file, answered whatever becomes of the connection.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

BatchId = Annotated[str, typer.Argument(help="The batch's id; see engram batch list.", show_default=False)]
COLOURS = {"done": "green", "failed": "red", "cancelled": "yellow"}


@app.command(
    epilog="[bold]Examples[/bold]\n\n  engram batch submit questions.jsonl --task qa\n\n"
    "  engram batch submit questions.jsonl --task qa --watch\n\n"
    "  cat questions.jsonl | engram batch submit - --task qa\n\n" + EXIT_CODES
)
def submit(
    context: typer.Context,
    *,
    file: Annotated[
        str,
        typer.Argument(
            help="A file with one JSON object a line, each with an id, or - for standard input.",
            show_default=False,
        ),
    ],
    task: Annotated[
        str,
        typer.Option("--task", help="What answers the lines: qa, read, complete, point, compute, translate."),
    ],
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="WORD", help="Submitted again with this word, it is the same batch."),
    ] = None,
    follow: Annotated[bool, typer.Option("--watch", help="Stay until it has ended.")] = False,
    as_json: Json = False,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout", metavar="SECONDS", min=0.001, help="For sending the file, repeats included."
        ),
    ] = 600.0,
    url: Url = None,
) -> None:
    """Submit a file and print the batch's id."""
    with connect(context, url, DEFAULT_TIMEOUT_S) as client:
        with _file(file) as path:
            batch = client.batches.submit(task, path, idempotency_key=key, timeout=timeout)
        if batch.invalid:
            complain(f"note: {batch.invalid} of {batch.total} lines are no requests; the results say why")
        if as_json and not follow:
            report.write_json(batch.raw)
            return
        if not as_json:
            typer.echo(batch.id)
        if follow:
            _follow(client, batch.id, as_json)


@app.command()
def watch(
    context: typer.Context,
    batch: BatchId,
    as_json: Json = False,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    url: Url = None,
) -> None:
    """Stay until a batch has ended, with a progress bar and the time left."""
    with connect(context, url, timeout) as client:
        _follow(client, batch, as_json)


@app.command(
    epilog="[bold]Examples[/bold]\n\n  engram batch results ID > answers.jsonl\n\n"
    "  engram batch results ID --output answers.jsonl --resume"
)
def results(
    context: typer.Context,
    batch: BatchId,
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write into a file.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the file ends.")] = False,
    offset: Annotated[int, typer.Option("--offset", min=0, help="The first line wanted.")] = 0,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Stay until the batch has ended, or take what is there.")
    ] = True,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    url: Url = None,
) -> None:
    """Print results in the order of the lines, one JSON object each, as they come."""
    if resume and output is None:
        raise UsageProblem("--resume needs --output, the file to go on with")
    failed = 0
    with connect(context, url, timeout) as client:
        if output is not None:
            client.batches.get(batch)  # before a file is emptied for a batch that there is not
        with _destination(output, resume) as (file, there):
            for result in client.batches.results(batch, offset=offset if there is None else there, wait=wait):
                failed += result.error is not None
                file.write(json.dumps(result.raw, ensure_ascii=False).encode() + b"\n")
            file.flush()
    if failed:
        complain(f"{failed} lines have an error instead of an answer")


@app.command("list")
def list_batches(
    context: typer.Context,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many, the newest first.")] = 20,
    as_json: Json = False,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    url: Url = None,
) -> None:
    """List batches, the newest first."""
    with connect(context, url, timeout) as client:
        found = client.batches.list(limit=limit)
    if as_json:
        report.write_json([batch.raw for batch in found])
        return
    table = Table(
        "batch", "task", "state", "lines", "failed", "created (UTC)", box=box.SIMPLE_HEAD, pad_edge=False
    )
    table.columns[0].min_width = max((len(batch.id) for batch in found), default=0)  # there to be copied
    for batch in found:
        state = Text(batch.state, style=COLOURS.get(batch.state, ""))
        lines = f"{batch.done + batch.failed:,} of {batch.total:,}"
        created = str(batch.raw.get("created_at", ""))[:16].replace("T", " ")
        table.add_row(batch.id, batch.task, state, lines, str(batch.failed), created)
    console().print(table)


@app.command()
def cancel(
    context: typer.Context,
    batch: BatchId,
    as_json: Json = False,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    url: Url = None,
) -> None:
    """Cancel a batch; what has a result keeps it."""
    with connect(context, url, timeout) as client:
        _tell(client.batches.cancel(batch), as_json)


def _follow(client: Client, batch_id: str, as_json: bool) -> None:
    """Show progress until the end; leave with 1 if the batch did not end as it should."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=console(stderr=True), transient=True)
    progress.disable = not progress.console.is_terminal
    try:
        with progress:
            bar = progress.add_task("waiting", total=None)
            for batch in client.batches.watch(batch_id):
                about = readable(batch.reason or batch.state)
                progress.update(
                    bar, description=about, completed=batch.done + batch.failed, total=batch.total
                )
    except KeyboardInterrupt:
        complain(f"the batch goes on without this command; engram batch watch {batch_id} comes back to it")
        raise
    _tell(batch, as_json)
    if batch.state != "done":
        raise typer.Exit(ExitCode.REFUSED)


def _tell(batch: Batch, as_json: bool) -> None:
    if as_json:
        report.write_json(batch.raw)
    else:
        typer.echo(str(batch))


@contextmanager
def _file(source: str) -> Iterator[Path]:
    """Give the file to send; standard input becomes one for as long as that takes, as it may be sent twice.

    Raises:
        UsageProblem: It cannot be read.
    """
    if source == inputs.STDIN:
        with TemporaryDirectory(prefix="engram-") as folder:
            path = Path(folder, "lines")
            with path.open("wb") as file:
                shutil.copyfileobj(inputs.stdin(), file)
            yield path
        return
    path = Path(source)
    if not path.exists():
        raise UsageProblem(f"there is no file {source!r}")
    if not path.is_file():
        raise UsageProblem(f"{source!r} is no file; - is standard input")
    try:
        path.open("rb").close()
    except OSError as error:
        raise UsageProblem(f"cannot read {source!r}: {error.strerror}") from error
    yield path


@contextmanager
def _destination(path: Path | None, resume: bool) -> Iterator[tuple[BinaryIO, int | None]]:
    """Open what results are written to, and say which line an earlier run left off at, if it did.

    Raises:
        UsageProblem: It cannot be written, or what it holds are no results.
    """
    if path is None:
        yield typer.get_binary_stream("stdout"), None
        return
    try:
        there = _repair(path) if resume and path.exists() else None
        file = path.open("ab" if resume else "wb")
    except OSError as error:
        raise UsageProblem(f"cannot write {str(path)!r}: {error.strerror}") from error
    with file:
        yield file, there


def _repair(path: Path) -> int:
    """Cut off half a line at the end of a file of results, and return the line to go on with.

    Raises:
        UsageProblem: It holds something else, and stays as it is.
    """
    whole, last, half = 0, b'{"index": -1}', b"{"
    with path.open("rb+") as file:
        for line in file:
            if not line.endswith(b"\n"):
                half = line
                break
            whole, last = whole + len(line), line
        there: int | None = None
        with suppress(KeyError, TypeError, ValueError):
            there = int(json.loads(last)["index"]) + 1
        if there is None or not half.startswith(b"{"):
            raise UsageProblem(f"{str(path)!r} holds no results to go on with")
        file.truncate(whole)
    return there
