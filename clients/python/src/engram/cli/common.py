"""What every command shares: its common options, a client, a console, pictures and warnings."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from engram.cli.failures import UsageProblem, complain
from engram.client import Client

EXIT_CODES = (
    "Exit codes: 0 answered, 1 the server said no, 2 wrong usage, 3 no server, 4 timed out or overloaded "
    "(try later), 130 interrupted."
)

Url = Annotated[
    str | None,
    typer.Option(
        "--url", envvar="ENGRAM_URL", metavar="URL", help="Where the server is.", show_default=False
    ),
]
Timeout = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", min=0.001, help="For a whole call, retries included.")
]
Json = Annotated[
    bool, typer.Option("--json", help="Print the server's JSON, one line per answer, for pipes.")
]


def connect(context: typer.Context, url: str | None, timeout: float) -> Client:
    """Open a client; a transport in the context's ``obj`` replaces the network in tests."""
    return Client(url, timeout=timeout, transport=context.obj)


def console(stderr: bool = False) -> Console:
    """Return what to print on."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def save(picture: bytes, path: Path) -> None:
    """Write a picture, and say where.

    Raises:
        UsageProblem: It cannot be written.
    """
    try:
        path.write_bytes(picture)
    except OSError as error:
        raise UsageProblem(f"cannot write {str(path)!r}: {error.strerror}") from error
    typer.echo(f"attention drawn in {path}", err=True)


def warn(warnings: Iterable[str]) -> None:
    """Pass on what the server noticed."""
    for warning in warnings:
        complain(f"note: {warning}")
