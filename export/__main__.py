"""``python -m export``: make a bundle of a checkpoint; measure, verify or inspect a bundle."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

import torch
import typer
from rich.console import Console
from typer.core import TyperGroup

from export.evaluation import MEASURES, beside_eager_torch
from export.graphs import graphs_of
from export.half import rounded
from export.parity import ParityError
from export.report import (
    certificate_tables,
    facts_of,
    files_table,
    progress_bars,
    signature_tables,
)
from export.served import Served
from export.translation_checks import compare_decoders, significance
from export.verification import RUNTIMES, open_bundle, verify
from export.writing import CHECKPOINT, Label, write_bundle, write_manifest
from models.checkpoint import load_checkpoint
from models.families import FAMILIES
from models.learning import DataChoice
from server.contract.bundle import Bundle, read_manifest
from server.contract.manifest import RuntimeName
from server.errors import EngramError
from server.runtime.session import OpenSession, open_session

DEFAULT_REPOSITORY = Path("model_repository")


class BundleByDefault(TyperGroup):
    """Reads ``python -m export RUN`` as ``python -m export bundle RUN``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command ``bundle`` first where no command is named."""
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["bundle", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=BundleByDefault,
    help="Make a verified bundle of a checkpoint; measure, verify or inspect a bundle.\n\n"
    "`python -m export RUN` is short for `python -m export bundle RUN`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console(soft_wrap=True, highlight=False)
errors = Console(stderr=True)


def _by_name(folder: Path) -> Path:
    """Return the folder of a bundle that is called by its name in the committed repository."""
    named = DEFAULT_REPOSITORY / folder
    return named if not folder.exists() and named.is_dir() else folder


BundleFolder = Annotated[
    Path,
    typer.Argument(
        metavar="BUNDLE",
        callback=_by_name,
        help="Folder of a bundle, or its name in model_repository, such as dmn-plus-babi.",
    ),
]


@app.command()
def bundle(
    run: Annotated[Path, typer.Argument(help="A run folder that holds best.pt, or a checkpoint.")],
    *,
    name: Annotated[str, typer.Option(help="Name of the model; the run folder's, if not given.")] = "",
    repository: Annotated[Path, typer.Option(help="Where the bundle's folder goes.")] = DEFAULT_REPOSITORY,
    description: Annotated[str, typer.Option(help="One sentence for people.")] = "",
    default: Annotated[bool, typer.Option("--default", help="Answer requests that name no model.")] = False,
    language: Annotated[list[str] | None, typer.Option(help="Language of the texts, such as `en`.")] = None,
    metrics: Annotated[Path | None, typer.Option(help="JSON file of what was measured elsewhere.")] = None,
    tolerance: Annotated[
        float | None, typer.Option(help="Largest difference from eager torch; the family's, if not given.")
    ] = None,
    torchscript: Annotated[bool, typer.Option(help="Also write TorchScript.")] = True,
    keep_checkpoint: Annotated[bool, typer.Option(help="Keep the checkpoint, for `rebuild`.")] = True,
    half: Annotated[
        bool, typer.Option("--half", help="Round the weights to float16, and store them so.")
    ] = False,
    selector: Annotated[
        list[str] | None,
        typer.Option(help="What tells it from others of its task, such as `task=tour`; may be repeated."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle of this name.")] = False,
) -> None:
    """Export a checkpoint as ONNX and TorchScript, compare both with eager torch, and write the bundle.

    When a form differs from the network, nothing is written. The folder is also one that Triton serves.

        python -m export runs/dmn_plus-tiny

        python -m export runs/babi --name dmn-plus-babi --default --language en

        python -m export runs/tours --half --no-torchscript --selector task=tour
    """
    path = run / "best.pt" if run.is_dir() else run
    with _told():
        label = Label(
            name or (run if run.is_dir() else run.parent).resolve().name.replace("_", "-"),
            description,
            default,
            tuple(language or ()),
            json.loads(metrics.read_text()) if metrics else {},
            parse_selector(selector or ()),
        )
        _write(
            path,
            repository,
            label,
            tolerance=tolerance,
            torchscript=torchscript,
            keep_checkpoint=keep_checkpoint,
            half=half,
            force=force,
        )


@app.command()
def rebuild(
    bundles: Annotated[list[Path], typer.Argument(help="Folders of bundles.")],
) -> None:
    """Export bundles anew from their own checkpoints; names, descriptions, selectors and metrics stay.

    A bundle that keeps no checkpoint is left as it is, and the command that trained it is printed.

    python -m export rebuild model_repository/*
    """
    rebuilt = 0
    for folder in bundles:
        with _told():
            old = read_manifest(folder)
            if not (folder / CHECKPOINT).is_file():
                command = old.training.get("command", "a command that its manifest does not tell")
                errors.print(
                    f"{old.name} keeps no {CHECKPOINT} and stays as it is; it was made by: {command}",
                    markup=False,
                    soft_wrap=True,
                )
                continue
            label = Label(
                old.name, old.description, old.default, old.languages, old.metrics, dict(old.selector)
            )
            has_torchscript = any(role.endswith("torchscript") for role in old.graphs)
            _write(
                folder / CHECKPOINT, folder.resolve().parent, label, torchscript=has_torchscript, force=True
            )
            rebuilt += 1
    if not rebuilt:
        sys.exit(1)


@app.command()
def evaluate(
    folder: BundleFolder,
    *,
    data: Annotated[
        str, typer.Option(help="A data set, sample or a file; by default what it was trained on.")
    ] = "",
    tasks: Annotated[
        str, typer.Option(help="A part of it, such as 1,2,16-19; by default what it was trained on.")
    ] = "",
    split: Annotated[str, typer.Option(help="test or valid; by default test where there is one.")] = "",
    runtime: Annotated[str, typer.Option(help="onnx or torchscript; by default the bundle's.")] = "",
    compare: Annotated[
        bool, typer.Option("--compare", help="Also ask the kept checkpoint in eager torch: how far apart?")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    write: Annotated[bool, typer.Option("--write", help="Keep the table in the bundle's manifest.")] = False,
) -> None:
    """Print what a bundle reaches on held-out data, through the server's own task and runtime.

    python -m export evaluate model_repository/dmn-plus-babi --write

    python -m export evaluate model_repository/dmn-plus-babi --tasks 1-3 --runtime torchscript

    python -m export evaluate model_repository/mine --data more.jsonl --json
    """
    with _told():
        choice = DataChoice(data, tasks=tasks, split=split)
        if runtime and runtime not in RUNTIMES:
            raise ValueError(f"--runtime is {' or '.join(RUNTIMES)}, not {runtime!r}")
        opened = open_bundle(folder)
        manifest = opened.manifest
        measure = MEASURES[manifest.task]
        differences: dict[str, float] = {}
        opener: OpenSession = open_session
        if compare:
            kept = load_checkpoint(opened.folder / CHECKPOINT)
            opener = beside_eager_torch(graphs_of(kept).model, differences)
        with (
            Served(opened, cast(RuntimeName, runtime) or None, opener) as served,
            progress_bars(errors) as tell,
        ):
            report = measure(served, choice, lambda done, total: tell("asking", done, total))
        record = report.plain()
        if compare:
            record["largest_difference_from_eager_torch"] = differences
        if write:
            metrics = manifest.metrics | {split or "test": record}
            write_manifest(opened.folder, manifest.model_copy(update={"metrics": metrics}))
        if as_json:
            typer.echo(json.dumps(record, indent=2))
        else:
            report.show(console)
            for output, distance in differences.items():
                console.print(f"{output}: at most {distance:.1e} from eager torch")


@app.command()
def decoders(
    folder: BundleFolder,
    *,
    checkpoint: Annotated[
        Path | None, typer.Option(help="The run or checkpoint it was made of; by default the kept one.")
    ] = None,
    data: Annotated[str, typer.Option(help="A data set or file; by default what it was trained on.")] = "",
    split: Annotated[str, typer.Option(help="test or valid; by default test where there is one.")] = "",
) -> None:
    """Count the sentences that a served translator translates otherwise than the eager decoder.

    python -m export decoders model_repository/mine --checkpoint runs/mine
    """
    with _told():
        opened = open_bundle(folder)
        kept = checkpoint or opened.folder / CHECKPOINT
        network = load_checkpoint(kept / "best.pt" if kept.is_dir() else kept)
        if "weights" in opened.manifest.training:
            network = rounded(network)
        with Served(opened) as served, progress_bars(errors) as tell:
            choice = DataChoice(data, split=split)
            compare_decoders(served, network, choice, partial(tell, "translating")).show(console)


@app.command(name="significance")
def significance_command(
    folders: Annotated[list[Path], typer.Argument(metavar="BUNDLE...", help="The first is compared with.")],
    *,
    data: Annotated[str, typer.Option(help="A data set or file; by default what they were trained on.")] = "",
    split: Annotated[str, typer.Option(help="test or valid; by default test where there is one.")] = "",
    beam: Annotated[int, typer.Option(help="Beam of the search; 1 is greedy.")] = 1,
) -> None:
    """Say which translator is better, and how sure that is, by paired bootstrap resampling.

    python -m export significance model_repository/translate-en-fr-*
    """
    with _told(), ExitStack() as stack:
        served = [stack.enter_context(Served(open_bundle(folder))) for folder in folders]
        tell = stack.enter_context(progress_bars(errors))
        choice = DataChoice(data, split=split)
        significance(served, choice, beam, partial(tell, "translating")).show(console)


@app.command(name="verify")
def verify_command(folder: BundleFolder) -> None:
    """Compare every checksum and replay the golden probes, as a server does before it answers."""
    with _told():
        opened = open_bundle(folder)
        runtimes = verify(opened)
        stages = [f"of its {stage}" for stage in opened.manifest.stages]
        console.print(
            f"{opened.manifest.name}:{opened.version} is whole: {len(opened.files())} checksums, "
            f"{len(opened.probes().inputs)} probes{', and those '.join(['', *stages])} "
            f"on {' and '.join(runtimes)}"
        )


@app.command()
def inspect(folder: BundleFolder) -> None:
    """Print what a bundle is, takes, returns and weighs."""
    with _told():
        opened = open_bundle(folder)
        for line in facts_of(opened):
            console.print(line)
        console.print(*signature_tables(opened), files_table(opened))
        _print_certificate(opened)


def parse_selector(pairs: Iterable[str]) -> dict[str, str | int]:
    """Read ``task=tour`` and ``base=2``; a value of digits is a number.

    Raises:
        ValueError: a pair has no ``=``.
    """
    selector: dict[str, str | int] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals and value):
            raise ValueError(f"--selector is NAME=VALUE, not {pair!r}")
        selector[name] = int(value) if value.isdecimal() else value
    return selector


def _write(path: Path, repository: Path, label: Label, **options: Any) -> None:
    checkpoint = load_checkpoint(path)
    if not label.description:
        title = FAMILIES[checkpoint.family].title
        names = ", ".join(record["name"] for record in checkpoint.training.get("data", ()))
        label = replace(label, description=f"{title}, trained on {names}.")
    with progress_bars(errors) as tell:
        written = write_bundle(checkpoint, repository, label, tell, **options)
    _print_certificate(written)
    console.print(files_table(written))
    console.print(f"wrote {repository / label.name}")


def _print_certificate(opened: Bundle) -> None:
    if "parity" in opened.manifest.graphs:
        console.print(*certificate_tables(json.loads(opened.read(opened.file("parity")))))


@contextmanager
def _told() -> Iterator[None]:
    """Let what can go wrong end the command with one plain line."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    try:
        yield
    except (ParityError, EngramError, ValueError, OSError) as error:
        errors.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    app()
