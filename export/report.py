"""What the command line prints: progress, certificates, bundles and result tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from export.forms import Progress as Tell
from models.evaluation import TaskRow, mean_row
from server.contract.bundle import MANIFEST, Bundle
from server.contract.manifest import TensorSpec


@contextmanager
def progress_bars(console: Console) -> Iterator[Tell]:
    """Show one bar for each step that is told about."""
    bars: dict[str, TaskID] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:

        def tell(step: str, done: int, total: int) -> None:
            if step not in bars:
                bars[step] = progress.add_task(step, total=total)
            progress.update(bars[step], completed=done)

        yield tell


def certificate_table(certificate: dict[str, Any]) -> Table:
    """Show how far apart the forms are at most."""
    table = Table(
        title=f"parity over {certificate['batches']} batches, tolerance {certificate['tolerance']:g}"
    )
    for column in ("form", "output", "from eager torch", "alone or in a batch"):
        table.add_column(column)
    for form, one in certificate["largest_difference"].items():
        for output, distance in one["from_reference"].items():
            table.add_row(form, output, f"{distance:.1e}", f"{one['alone_or_in_a_batch'][output]:.1e}")
    return table


def signature_table(bundle: Bundle) -> Table:
    """Show inputs and outputs with their axes."""
    table = Table("", "tensor", "type", "axes", title="signature")
    signature = bundle.manifest.signature
    for side, specs in (("input", signature.inputs), ("output", signature.outputs)):
        for spec in specs:
            table.add_row(side, spec.name, spec.datatype, _axes(spec))
    return table


def files_table(bundle: Bundle) -> Table:
    """Show every file with its size."""
    table = Table("file", "kB", title="files")
    for name in (*bundle.manifest.files, MANIFEST):
        table.add_row(name, f"{(bundle.folder / name).stat().st_size / 1000:,.1f}")
    return table


def facts_of(bundle: Bundle) -> list[str]:
    """Say what the bundle is, in a few lines."""
    manifest = bundle.manifest
    limits = ", ".join(f"{name} {limit:,}" for name, limit in manifest.limits.items())
    attention = manifest.signature.attention
    axes = " x ".join(attention.axes)
    lines = [
        f"{manifest.name}:{bundle.version}, task {manifest.task}, family {manifest.family}"
        + (", default" if manifest.default else ""),
        manifest.description,
        f"limits: {limits}",
        f"attention: {attention.kind}, {axes}, normalised over {attention.normalized_over}",
        f"{manifest.training.get('parameters', 0):,} parameters, {len(manifest.answers)} answers",
    ]
    lines += [f"data: {record.name} ({record.licence})" for record in manifest.data]
    return [line for line in lines if line]


def print_results(rows: Sequence[TaskRow], notes: Sequence[str], as_json: bool, console: Console) -> None:
    """Print the table of tasks with their mean, and what has to be said about the training data."""
    everything = [*rows, mean_row(rows)]
    if as_json:
        print(json.dumps([asdict(row) for row in everything]))  # noqa: T201 - plain JSON for pipes
        return
    table = Table("task", "questions", "error %", "gold facts on top %")
    for row in everything:
        recall = "" if row.gold_recall is None else f"{row.gold_recall:.1f}"
        table.add_row(row.task, f"{row.questions:,}", f"{row.error:.2f}", recall)
    console.print(table)
    for note in notes:
        console.print(note)


def _axes(spec: TensorSpec) -> str:
    return ", ".join(map(str, spec.dims))
