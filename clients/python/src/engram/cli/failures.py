"""How the command fails: one plain line on standard error, and an exit code that scripts can rely on."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import typer
from typer.core import TyperGroup

from engram import errors


class ExitCode(IntEnum):
    """What the exit status says."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    UNREACHABLE = 3
    TRY_LATER = 4
    INTERRUPTED = 130


class UsageProblem(typer.TyperException):
    """What the user typed cannot be done; nothing was sent."""

    exit_code = ExitCode.USAGE


class Commands(TyperGroup):
    """The commands, with every failure as one line instead of a box or a traceback."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command; in standalone mode leave with its exit code."""
        try:
            code = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        except (errors.EngramError, typer.TyperException) as error:
            if not standalone_mode:
                raise
            complain(sentence(error))
            code = exit_code(error)
        except UnicodeEncodeError as error:
            if not standalone_mode:
                raise
            complain(f"{error.object[error.start : error.end]!a} is no character: is the text UTF-8?")
            code = ExitCode.USAGE
        except OSError as error:  # a full disk, say; a pipe that was closed is quiet, and never comes here
            if not standalone_mode:
                raise
            what = repr(error.filename) if error.filename else "what was to be written"
            complain(f"cannot use {what}: {error.strerror or error}")
            code = ExitCode.USAGE
        if standalone_mode:
            sys.exit(code if isinstance(code, int) else ExitCode.OK)
        return code


def complain(message: str) -> None:
    """Write one line for people to standard error."""
    typer.echo(f"engram: {' '.join(message.split())}", err=True)


def exit_code(error: Exception) -> int:
    """Sort an error: wrong usage, no server, try later, or refused."""
    match error:
        case typer.TyperException():
            return error.exit_code
        case errors.ConfigurationError():
            return ExitCode.USAGE
        case errors.ConnectionFailed() | errors.UnexpectedResponse():
            return ExitCode.UNREACHABLE
        case errors.Timeout() | errors.Overloaded() | errors.Unavailable():
            return ExitCode.TRY_LATER
        case _:
            return ExitCode.REFUSED


def sentence(error: Exception) -> str:
    """Say what went wrong and what would help."""
    if isinstance(error, typer.TyperException):
        return error.format_message()
    said = error.message if isinstance(error, errors.APIStatusError) else str(error)
    match error:
        case errors.UnknownWords() if error.words:
            said = f"unknown words: {_suggestions(error.words)}; --unknown-words map answers in spite of them"
        case errors.InputTooLong() if error.details.get("knob") == "max_facts":
            said += "; --truncate oldest leaves out the first sentences"
        case errors.Unauthorized():
            said += "; this command sends the one in ENGRAM_API_KEY"
        case errors.Overloaded() if error.retry_after:
            said += f"; try again in {error.retry_after:g} s"
        case errors.ServerError() | errors.DeadlineExceeded():
            said = str(error)
    return said


def _suggestions(words: dict[str, list[str]]) -> str:
    """List unknown words, each with the known words nearest to it."""
    return ", ".join(f"{word} (near: {' '.join(near)})" if near else word for word, near in words.items())
