"""What the command line prints: progress, certificates and bundles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from export.forms import Progress as Tell
from server.contract.bundle import MANIFEST, Bundle
from server.contract.manifest import GraphSpec, TensorSpec


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


def certificate_tables(certificate: dict[str, Any]) -> list[Table]:
    """Show for every graph how far apart the forms are at most."""
    tolerance = f"tolerance {certificate['tolerance']:g}"
    graphs = {"": certificate, **certificate.get("graphs", {})}
    return [_certificate_table(name, one, tolerance) for name, one in graphs.items()]


def _certificate_table(graph: str, certificate: dict[str, Any], tolerance: str) -> Table:
    of = f" of the {graph}" if graph else ""
    table = Table(title=f"parity{of} over {certificate['batches']} batches, {tolerance}")
    for column in ("form", "output", "from eager torch", "alone or in a batch"):
        table.add_column(column)
    for form, one in certificate["largest_difference"].items():
        for output, distance in one["from_reference"].items():
            table.add_row(form, output, f"{distance:.1e}", f"{one['alone_or_in_a_batch'][output]:.1e}")
        if one.get("ties"):
            table.add_row(form, "rows with a tie", str(one["ties"]), "")
    return table


def signature_tables(bundle: Bundle) -> list[Table]:
    """Show inputs and outputs of every graph with their axes."""
    manifest = bundle.manifest
    stages = [_signature_table(f"stage {stage}", spec) for stage, spec in manifest.stages.items()]
    return [_signature_table("signature", manifest.signature), *stages]


def _signature_table(title: str, graph: GraphSpec) -> Table:
    table = Table("", "tensor", "type", "axes", title=title)
    for side, specs in (("input", graph.inputs), ("output", graph.outputs)):
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
        + "".join(f", {name} {value}" for name, value in manifest.selector.items())
        + (", default" if manifest.default else ""),
        manifest.description,
        f"limits: {limits}",
        f"attention: {attention.kind}, {axes}, normalised over {attention.normalized_over}",
        f"{manifest.training.get('parameters', 0):,} parameters"
        + (f" {manifest.training['weights']}" if "weights" in manifest.training else "")
        + (f", {len(manifest.answers)} answers" if manifest.answers else ""),
    ]
    lines += [f"data: {record.name} ({record.licence})" for record in manifest.data]
    return [line for line in lines if line]


def _axes(spec: TensorSpec) -> str:
    return ", ".join(map(str, spec.dims))
