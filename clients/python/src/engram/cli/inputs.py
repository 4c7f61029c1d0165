"""What the command reads: stories and questions from files and standard input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

import typer

from engram.calls import PICTURE_TYPES, PictureFormat
from engram.cli.failures import UsageProblem, complain

STDIN = "-"

LONGEST_SHOWN = 60
"""Characters of what was given that an error shows."""


def read_story(source: str) -> str:
    """Return the story in a file, or on standard input for ``-``; the server splits it into sentences.

    Raises:
        UsageProblem: It cannot be read, or is empty.
    """
    return read_text(source, "story").strip()


def read_text(source: str, what: str) -> str:
    """Return the text in a file, or on standard input for ``-``, as it stands.

    Raises:
        UsageProblem: It cannot be read, or is empty.
    """
    text = _read(source, what)
    if not text.strip():
        raise UsageProblem(f"the {what} in {_name(source)} is empty")
    return text


def read_questions(source: str) -> list[str]:
    """Return one question per line, blank lines left out.

    Raises:
        UsageProblem: There are none.
    """
    questions = [line.strip() for line in _read(source, "questions").splitlines() if line.strip()]
    if not questions:
        raise UsageProblem(f"there are no questions in {_name(source)}")
    return questions


def read_lines(source: str) -> tuple[Iterator[str], int | None]:
    """Return the lines of a file, or of standard input for ``-``, as they are read, and how many there are.

    Lines come without their ends. Of standard input nobody knows the number.

    Raises:
        UsageProblem: It cannot be read, now or on the way.
    """
    if source == STDIN:
        return _lines(stdin, source), None
    try:
        with Path(source).open("rb") as file:
            total = sum(1 for _ in file)
        return _lines(lambda: Path(source).open("rb"), source), total
    except OSError as error:
        why = f"cannot read the text {source!r}: {error.strerror}"
        raise UsageProblem(f"{why}; a text itself, not a file, goes with --text") from error


def _lines(opened: Callable[[], BinaryIO], source: str) -> Iterator[str]:
    with opened() as file:
        for number, line in enumerate(file, start=1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise UsageProblem(f"line {number} of {_name(source)} is not UTF-8 text") from error
            yield text.rstrip("\r\n")


def stdin() -> BinaryIO:
    """Return standard input; at a terminal, say that it is waited for."""
    stream = typer.get_binary_stream("stdin")
    if stream.isatty():
        complain("note: reading from the terminal; Ctrl-D on a line of its own ends the text")
    return stream


def shortened(text: str) -> str:
    """Return the beginning of a text for a message."""
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…"


def picture_format(path: Path) -> PictureFormat:
    """Return the format that a picture's file name asks for.

    Raises:
        UsageProblem: There is no such format, or no such folder.
    """
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in PICTURE_TYPES:
        raise UsageProblem(f"cannot draw {path}: its name should end in .svg or .png")
    if not path.absolute().parent.is_dir():
        raise UsageProblem(f"cannot draw {path}: there is no such folder")
    return cast(PictureFormat, suffix)


def _read(source: str, what: str) -> str:
    try:
        data = stdin().read() if source == STDIN else Path(source).read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        hint = "; a text itself, not a file, goes through standard input, with -" if " " in source else ""
        raise UsageProblem(f"cannot read the {what} {shortened(source)!r}: {error.strerror}{hint}") from error
    except UnicodeDecodeError as error:
        raise UsageProblem(f"{_name(source)} is not UTF-8 text (byte {error.start})") from error


def _name(source: str) -> str:
    return "standard input" if source == STDIN else source
