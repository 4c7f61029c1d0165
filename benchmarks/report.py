"""Results: a JSON file with every number and a Markdown file to read; both say what was measured on what."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.machine import describe
from server.contract.bundle import Bundle


@dataclass(frozen=True)
class Table:
    """A table of a report; cells are ready to print."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """Return the table as Markdown."""
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        return "\n".join([f"## {self.title}", "", *(f"| {' | '.join(line)} |" for line in lines), ""])


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Return the median and, in brackets, the smallest and the largest."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return the ratio of each pair of measurements, taken one after the other in the same repeat."""
    return [own / other for own, other in zip(ours, theirs, strict=True)]


def about_bundle(bundle: Bundle) -> dict[str, str]:
    """Return which model was measured."""
    graph = bundle.manifest.files[bundle.file("model")][:12]
    return {"model": f"{bundle.manifest.name}:{bundle.version}, graph sha256 {graph}…"}


def write(
    module: str, about: Mapping[str, str], tables: Sequence[Table], numbers: Mapping[str, Any], folder: Path
) -> None:
    """Write ``NAME.json`` and ``NAME.md``, and print the latter.

    Args:
        module: such as ``benchmarks.ceiling``; its last part names the files.
        about: what the reader must know beside machine and versions.
        tables: the result as it is read.
        numbers: every single measurement.
        folder: where the files go.
    """
    name = module.rpartition(".")[2]
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    context = {"command": shlex.join(["python", "-m", module, *sys.argv[1:]]), "date": date}
    context |= {**about, **describe()}
    lines = [f"# {name}", "", *(f"- {key}: {value}" for key, value in context.items()), ""]
    text = "\n".join([*lines, *(table.markdown() for table in tables)])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps({"context": context, **numbers}, indent=1) + "\n")
    (folder / f"{name}.md").write_text(text, encoding="utf-8")
    print(text)
