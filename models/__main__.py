"""``python -m models``: train a family, evaluate a checkpoint, list what there is."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from models.checkpoint import Checkpoint, load_checkpoint
from models.data.sources import Selection, held_out_examples, load_examples, plain
from models.evaluation import TaskRow, evaluate_checkpoint, mean_row
from models.families import FAMILIES
from models.presets import load_preset, presets
from models.question_answering import QuestionAnsweringOptions, QuestionAnsweringRecipe
from models.training import Trainer, TrainingOptions

app = typer.Typer(
    help="Train and evaluate Engram's networks.", no_args_is_help=True, pretty_exceptions_enable=False
)
console = Console()


@app.command()
def train(
    family: Annotated[str, typer.Argument(help="The family to train; `families` lists them.")],
    preset: Annotated[str, typer.Option(help="A named set of options; `families` lists them.")] = "cpu",
    run: Annotated[Path | None, typer.Option(help="Run folder; an existing one is resumed.")] = None,
    data: Annotated[str, typer.Option(help="`babi`, `sample`, or a JSON-lines file of your own.")] = "",
    valid: Annotated[str, typer.Option(help="Your own validation file; else a tenth of the stories.")] = "",
    tasks: Annotated[str, typer.Option(help="bAbI tasks, as in `1,2,16-19`; empty means all.")] = "",
    epochs: Annotated[int | None, typer.Option(help="Override the preset's number of epochs.")] = None,
    starts: Annotated[int | None, typer.Option(help="Override the number of random starts.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the first start.")] = None,
    device: Annotated[str, typer.Option(help="`cpu` or `cuda`.")] = "cpu",
    change: Annotated[
        list[str] | None, typer.Option("--set", help="Change one field: `--set network.hidden=64`.")
    ] = None,
) -> None:
    """Train a network; kill it whenever you like, the same command goes on where it was.

    Examples:

        python -m models train dmn_plus --preset tiny

        python -m models train dmn_plus --preset cpu --run runs/babi

        python -m models train dmn_plus --preset single --tasks 17 --run runs/qa17

        python -m models train dmn_plus --preset single --data my.jsonl --run runs/mine
    """
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if family not in FAMILIES:
        raise typer.BadParameter(f"unknown family {family!r}; known: {', '.join(FAMILIES)}")
    folder = run or Path("runs") / f"{family}-{preset}"
    try:
        tables = load_preset(family, preset, change or [])
        overrides = {"epochs": epochs, "starts": starts, "seed": seed, "device": device}
        tables["training"] |= {name: value for name, value in overrides.items() if value is not None}
        options = TrainingOptions(**tables["training"])
        selection = Selection(**tables["data"] | _chosen(data, valid, tasks))
        examples = load_examples(selection, options.seed)
        learning = QuestionAnsweringOptions(**tables["learning"])
        recipe = QuestionAnsweringRecipe(
            family, examples.train, examples.valid, learning, tables["network"], options.device
        )
    except (ValueError, TypeError, FileNotFoundError) as error:
        raise typer.BadParameter(str(error)) from error
    provenance: dict[str, Any] = {
        "command": _command(family, preset, data, valid, tasks, tables, change or []),
        "options": asdict(options) | asdict(learning),
        "selection": plain(selection),
        "data": list(examples.records),
        "notes": list(examples.notes),
        "torch": str(torch.__version__),
    }
    console.print(
        f"{FAMILIES[family].title}: {len(examples.train):,} training and {len(examples.valid):,} validation "
        f"questions, {recipe.parameters:,} parameters, run folder {folder}"
    )
    best = Trainer(recipe, options, folder, provenance).fit()
    console.print(f"best checkpoint: {best}   log: {folder / 'log.csv'}   plot: {folder / 'training.png'}")


@app.command()
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint, or the run folder that holds best.pt.")],
    data: Annotated[str, typer.Option(help="`babi`, `sample`, or a JSON-lines file.")] = "babi",
    tasks: Annotated[str, typer.Option(help="bAbI tasks, as in `1,2,16-19`; empty means all.")] = "",
    split: Annotated[str, typer.Option(help="`test` or `valid`.")] = "test",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Print the error and the gold-fact recall of each task, by eager torch."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if split not in ("test", "valid"):
        raise typer.BadParameter("--split is test or valid")
    path = checkpoint / "best.pt" if checkpoint.is_dir() else checkpoint
    try:
        loaded = load_checkpoint(path)
        examples = held_out_examples(data, parse_tasks(tasks), "valid" if split == "valid" else "test")
    except (ValueError, FileNotFoundError) as error:
        raise typer.BadParameter(str(error)) from error
    rows = evaluate_checkpoint(loaded, examples)
    print_rows(rows, loaded, as_json)


@app.command()
def families() -> None:
    """List the families and their presets."""
    table = Table("family", "task", "paper", "presets")
    for family in FAMILIES.values():
        table.add_row(family.name, family.task, family.paper, ", ".join(presets(family.name)))
    console.print(table)


def print_rows(rows: list[TaskRow], checkpoint: Checkpoint, as_json: bool) -> None:
    """Print a table of tasks with their mean, and what has to be said about the training data."""
    everything = [*rows, mean_row(rows)]
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in everything]))
        return
    table = Table("task", "questions", "error %", "gold facts on top %")
    for row in everything:
        recall = "" if row.gold_recall is None else f"{row.gold_recall:.1f}"
        table.add_row(row.task, f"{row.questions:,}", f"{row.error:.2f}", recall)
    console.print(table)
    for note in checkpoint.training.get("notes", []):
        console.print(note)


def parse_tasks(text: str) -> tuple[int, ...]:
    """Read ``1,2,16-19``.

    Raises:
        ValueError: it is not a list of numbers and ranges.
    """
    numbers: list[int] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise ValueError(f"{part!r} is neither a task nor a range of tasks")
        numbers += range(int(first), int(last or first) + 1)
    return tuple(dict.fromkeys(numbers))


def _chosen(data: str, valid: str, tasks: str) -> dict[str, Any]:
    """Return what the command line says about the data; own data drops the preset's bAbI settings."""
    chosen: dict[str, Any] = {"tasks": parse_tasks(tasks)} if tasks else {}
    if data:
        chosen |= {"source": data, "valid": valid}
        if data != "babi":
            chosen |= {"renamed": {}, "tasks": ()}
    return chosen


def _command(
    family: str, preset: str, data: str, valid: str, tasks: str, tables: dict[str, Any], changes: list[str]
) -> str:
    given = {"data": data and Path(data).name, "valid": valid and Path(valid).name, "tasks": tasks}
    given |= {name: tables["training"].get(name) for name in ("epochs", "starts", "seed")}
    words = [f"--{name} {value}" for name, value in given.items() if value]
    words += [f"--set {change}" for change in changes]
    return " ".join(["python -m models train", family, "--preset", preset, *words])


if __name__ == "__main__":
    app()
