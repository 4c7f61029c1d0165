"""A file translated line by line: several requests on their way, lines out in order, little memory."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, TypeAlias

from engram.cli import report
from engram.cli.bulk import chunks, in_order, progress_over
from engram.cli.failures import UsageProblem, complain
from engram.client import Client
from engram.errors import InputTooLong, PayloadTooLarge
from engram.results import ItemError
from engram.translating import TranslateOptions, Translation

LINES_AT_ONCE = 32
"""Lines in one HTTP request: enough to be fast, few enough for the progress bar to move."""

CHARACTERS_AT_ONCE = 3_000
"""Characters in one HTTP request: of paragraphs it has fewer, and takes no longer than with lines."""

TRY_AGAIN = frozenset({"overloaded", "executor_lost", "model_not_ready"})
"""Why a line may be asked again, alone."""

Result: TypeAlias = Translation | ItemError | None
"""What becomes of a line; nothing where it has neither letter nor digit, and stays as it is."""


@dataclass(frozen=True)
class Destination:
    """Where lines go, how many are expected, and whether as JSON."""

    out: TextIO
    total: int | None
    as_json: bool


@dataclass(frozen=True)
class Failed:
    """How many lines have no translation, and why the first has none."""

    count: int
    first: ItemError


def translate_lines(
    client: Client, lines: Iterable[str], options: TranslateOptions, destination: Destination
) -> Failed | None:
    """Translate line by line; a line that cannot be comes out empty, with the reason on standard error."""
    # Many lines leave the way to whoever waits for one.
    patient = client.with_options(headers={"X-Priority": "batch"})
    quick: TranslateOptions = {**options, "attention": "none"}
    failed: Failed | None = None
    number = 0
    hidden = destination.out.isatty()
    with progress_over("translating", destination.total, hidden=hidden) as advance:
        pieces = chunks(lines, LINES_AT_ONCE, CHARACTERS_AT_ONCE)
        for chunk, results in in_order(pieces, lambda some: _results(patient, some, quick)):
            for line, result in zip(chunk, results, strict=True):
                number += 1
                if isinstance(result, ItemError):
                    failed = Failed(failed.count + 1 if failed else 1, failed.first if failed else result)
                    complain(f"line {number}: {result.message}")
                destination.out.write(_written(line, result, destination.as_json) + "\n")
            destination.out.flush()
            advance(len(chunk))
    return failed


@contextmanager
def opened(path: Path | None, source: str) -> Iterator[TextIO]:
    """Open a file to write, closed at the end, or standard output, which stays open.

    Raises:
        UsageProblem: It cannot be written, or is the file that is read.
    """
    if path is None:
        yield sys.stdout
        return
    try:
        if path.is_file() and Path(source).exists() and path.samefile(source):
            raise UsageProblem(f"{str(path)!r} is the text itself: write the translation elsewhere")
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        raise UsageProblem(f"cannot write {str(path)!r}: {error.strerror}") from error
    with file:
        yield file


def _results(client: Client, lines: list[str], options: TranslateOptions) -> list[Result]:
    worded = [place for place, line in enumerate(lines) if any(map(str.isalnum, line))]
    results: list[Result] = [None] * len(lines)
    try:
        found = client.translate([lines[place] for place in worded], **options)
    except (InputTooLong, PayloadTooLarge) as error:  # these lines together: each may be well alone
        if len(lines) > 1:
            middle = len(lines) // 2
            return [*_results(client, lines[:middle], options), *_results(client, lines[middle:], options)]
        payload = {"code": error.code, "message": error.message, "details": error.details}
        return [ItemError.from_payload(payload, 0, error.request_id)]
    for place, result in zip(worded, found, strict=True):
        again = isinstance(result, ItemError) and result.code in TRY_AGAIN
        results[place] = client.translate([lines[place]], **options)[0] if again else result
    return results


def _written(line: str, result: Result, as_json: bool) -> str:
    match result:
        case ItemError():
            return report.json_line({"source": line, "error": result.raw}) if as_json else ""
        case Translation():
            # The server may break lines where the text has a break that is none to a file.
            said = " ".join(result.text.splitlines())
            return report.json_line({"source": line, **result.raw}) if as_json else said
        case None:
            return report.json_line({"source": line, "text": line}) if as_json else line
