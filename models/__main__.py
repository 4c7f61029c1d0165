"""``python -m models``: train a family, evaluate checkpoints, list what there is."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from models.data.babi import TASKS
from models.data.sources import Selection, load_examples
from models.evaluation import evaluate_checkpoints
from models.families import FAMILIES
from models.presets import load_preset, options_from, presets
from models.question_answering import QuestionAnsweringOptions, QuestionAnsweringRecipe
from models.training import Trainer, TrainingOptions, TrainingStopped

app = typer.Typer(
    help="Train and evaluate Engram's networks.", no_args_is_help=True, pretty_exceptions_enable=False
)
console = Console(soft_wrap=True, highlight=False)


@app.command()
def train(
    family: Annotated[str, typer.Argument(help="What to train; `python -m models families` lists them.")],
    *,
    preset: Annotated[
        str, typer.Option(help="A named set of options: tiny, cpu, gpu, single, paper.")
    ] = "cpu",
    run: Annotated[
        Path | None,
        typer.Option(help="Run folder, runs/FAMILY-PRESET by default; an unfinished run is resumed."),
    ] = None,
    data: Annotated[
        str, typer.Option(help="babi, sample (the project's own stories), or your JSON-lines file.")
    ] = "",
    valid: Annotated[
        str, typer.Option(help="Your validation file; without it a tenth of your stories is held out, whole.")
    ] = "",
    tasks: Annotated[str, typer.Option(help="bAbI tasks, as in 1,2,16-19; all of them by default.")] = "",
    epochs: Annotated[int | None, typer.Option(help="Instead of the preset's number of epochs.")] = None,
    starts: Annotated[
        int | None, typer.Option(help="Instead of the preset's number of random starts.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the first start; the next ones count on.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:1.")] = "cpu",
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="TABLE.FIELD=VALUE", help="Change one option of the preset; may be given often."
        ),
    ] = None,
) -> None:
    """Train a network. Stop it whenever you like: the same command goes on where it was.

    Seconds, on stories the project writes itself:

        python -m models train dmn_plus --preset tiny

    One network for all twenty bAbI tasks, or one for task 17 alone:

        python -m models train dmn_plus --preset cpu --run runs/babi

        python -m models train dmn_plus --preset single --tasks 17 --run runs/single/17

    Your own stories, one JSON object a line (docs/training.md), in a wider network:

        python -m models train dmn_plus --preset tiny --data my.jsonl --set network.hidden=64

    The run folder holds best.pt (the checkpoint, to evaluate and export), state.pt, log.csv, training.png.
    """
    with _plain_errors(ValueError, OSError):
        if family not in FAMILIES:
            raise ValueError(f"there is no family {family!r}; known: {', '.join(FAMILIES)}")
        tables = load_preset(family, preset, change or [])
        overrides = {"epochs": epochs, "starts": starts, "seed": seed, "device": device}
        tables["training"] |= {name: value for name, value in overrides.items() if value is not None}
        tables["data"] |= _chosen(data, valid, tasks)
        options = options_from(TrainingOptions, "training", tables["training"])
        learning = options_from(QuestionAnsweringOptions, "learning", tables["learning"])
        selection = options_from(Selection, "data", tables["data"])
        examples = load_examples(selection, options.seed)
        recipe = QuestionAnsweringRecipe(
            family, examples.train, examples.valid, learning, tables["network"], options.device
        )
    folder = run or Path("runs") / f"{family}-{preset}"
    given = {"preset": preset, "data": Path(data).name, "valid": Path(valid).name, "tasks": tasks} | overrides
    provenance: dict[str, Any] = {
        "command": _command(family, given, change or []),
        "options": asdict(options) | asdict(learning),
        "selection": selection.plain(),
        "data": list(examples.records),
        "notes": list(examples.notes),
        "torch": str(torch.__version__),
    }
    _announce(recipe, folder)
    with _plain_errors(TrainingStopped, OSError):
        try:
            best = Trainer(recipe, options, folder, provenance).fit()
        except KeyboardInterrupt:
            typer.echo(_how_to_go_on(folder), err=True)
            raise typer.Exit(130) from None
    console.print(f"best checkpoint {best}, log {folder / 'log.csv'}, plot {folder / 'training.png'}")


@app.command()
def evaluate(
    checkpoints: Annotated[
        list[Path], typer.Argument(help="Checkpoints, or the run folders that hold best.pt.")
    ],
    *,
    data: Annotated[
        str, typer.Option(help="babi, sample or a JSON-lines file; by default what each was trained on.")
    ] = "",
    tasks: Annotated[
        str, typer.Option(help="bAbI tasks, as in 1,2,16-19; by default those each was trained on.")
    ] = "",
    split: Annotated[str, typer.Option(help="test or valid; by default test where there is one.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the JSON to this file as well.")] = None,
) -> None:
    """Print the error and the gold-fact recall of each task, by eager torch.

    The bAbI test of one checkpoint, or the joint table of networks trained for one task each:

        python -m models evaluate runs/babi

        python -m models evaluate runs/single/* --out single.json

    A checkpoint of your own stories is measured on those that were held out, or on another file of yours:

        python -m models evaluate runs/mine

        python -m models evaluate runs/mine --data more.jsonl
    """
    with _plain_errors(ValueError, OSError):
        if split not in ("", "test", "valid"):
            raise ValueError(f"--split is test or valid, not {split!r}")
        report = evaluate_checkpoints(checkpoints, data, parse_tasks(tasks), split)
        text = json.dumps(report.plain(), indent=2)
        if out is not None:
            out.write_text(text + "\n", encoding="utf-8")
    if as_json:
        typer.echo(text)
    else:
        report.show(console)


@app.command()
def families() -> None:
    """List the families and their presets."""
    table = Table("family", "task", "paper", "presets")
    for family in FAMILIES.values():
        table.add_row(family.name, family.task, family.paper, ", ".join(presets(family.name)))
    console.print(table)


def parse_tasks(text: str) -> tuple[int, ...]:
    """Read ``1,2,16-19``; an empty text is no choice.

    Raises:
        ValueError: it is not a list of bAbI tasks and ranges of them.
    """
    numbers: list[int] = []
    for part in text.split(",") if text else ():
        first, dash, last = (piece.strip() for piece in part.partition("-"))
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"--tasks: {part.strip()!r} is neither a task nor a range of tasks")
        chosen = range(int(first), int(last or first) + 1)
        if not chosen or chosen[0] not in TASKS or chosen[-1] not in TASKS:
            raise ValueError(f"--tasks: bAbI has tasks 1 to {len(TASKS)}, not {part.strip()}")
        numbers += chosen
    return tuple(dict.fromkeys(numbers))


def _chosen(data: str, valid: str, tasks: str) -> dict[str, Any]:
    """Return what the command line says about the data; other data drops the preset's bAbI settings."""
    chosen: dict[str, Any] = {"source": data} if data else {}
    if data not in ("", "babi"):
        chosen |= {"renamed": {}, "tasks": ()}
    if valid:
        chosen["valid"] = valid
    if tasks:
        chosen["tasks"] = parse_tasks(tasks)
    return chosen


def _command(family: str, given: dict[str, Any], changes: list[str]) -> str:
    """Return the command line that repeats a run, without folders of this machine."""
    words = [f"--{name}={value}" for name, value in given.items() if value not in (None, "")]
    return shlex.join(
        ["python", "-m", "models", "train", family, *words, *(f"--set={one}" for one in changes)]
    )


def _announce(recipe: QuestionAnsweringRecipe, folder: Path) -> None:
    console.print(
        f"{FAMILIES[recipe.family].title}: {len(recipe.train):,} training and "
        f"{len(recipe.valid):,} validation questions, {recipe.parameters:,} parameters, run folder {folder}"
    )
    if recipe.unseen_answers:
        unseen = ", ".join(recipe.unseen_answers)
        console.print(f"validation answers that no training story has count as wrong: {unseen}")


def _how_to_go_on(folder: Path) -> str:
    if not (folder / "state.pt").exists():
        return (
            "\nStopped before the first epoch was finished: nothing is saved, the same command begins anew."
        )
    command = shlex.join(["python", "-m", "models", *sys.argv[1:]])
    return f"\nStopped. Finished epochs are in {folder}; the same command goes on from there:\n  {command}"


@contextmanager
def _plain_errors(*kinds: type[Exception]) -> Iterator[None]:
    """End the command with the message of an expected error instead of a traceback."""
    try:
        yield
    except kinds as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from error


@app.callback()
def _threads() -> None:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or 1))


if __name__ == "__main__":
    app()
