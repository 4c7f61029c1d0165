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

from models.checkpoint import load_checkpoints
from models.families import FAMILIES
from models.learners import LEARNING
from models.learning import DataChoice, Plan
from models.presets import load_preset, options_from, presets
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
        str, typer.Option(help="A named set of options; `python -m models families` lists each family's.")
    ] = "cpu",
    run: Annotated[
        Path | None,
        typer.Option(help="Run folder, runs/FAMILY-PRESET by default; an unfinished run is resumed."),
    ] = None,
    data: Annotated[
        str,
        typer.Option(help="A data set, sample (what the project makes itself), or your file; the preset's."),
    ] = "",
    valid: Annotated[
        str, typer.Option(help="Your validation file; without it a part of your data is held out.")
    ] = "",
    tasks: Annotated[
        str,
        typer.Option(
            help="A part or kind of the data: bAbI tasks such as 1,2,16-19, languages such as en-de, a base."
        ),
    ] = "",
    epochs: Annotated[int | None, typer.Option(help="Instead of the preset's number of epochs.")] = None,
    starts: Annotated[
        int | None, typer.Option(help="Instead of the preset's number of random starts.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the first start; the next ones count on.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:1.")] = "cpu",
    begin_with: Annotated[
        Path | None,
        typer.Option(help="A checkpoint or run folder whose weights to begin with, instead of random ones."),
    ] = None,
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
        options = options_from(TrainingOptions, "training", tables["training"])
        choice = DataChoice(data, valid, tasks)
        plan = LEARNING[FAMILIES[family].task].plan(family, tables, choice, options)
    folder = run or Path("runs") / f"{family}-{preset}"
    given = {"preset": preset, "data": Path(data).name, "valid": Path(valid).name, "tasks": tasks} | overrides
    given["begin-with"] = None if begin_with is None else begin_with.name
    provenance: dict[str, Any] = {
        "command": _command(family, given, change or []),
        "options": asdict(options) | plan.options,
        "selection": plan.selection,
        "data": list(plan.records),
        "notes": list(plan.notes),
        "torch": str(torch.__version__),
    }
    with _plain_errors(ValueError, OSError):
        first = None if begin_with is None else load_checkpoints([begin_with])[str(begin_with)]
    if first is not None:
        provenance["begun_with"] = first.training
    _announce(family, plan, folder)
    with _plain_errors(TrainingStopped, OSError):
        try:
            best = Trainer(plan.recipe, options, folder, provenance, begin_with=first).fit()
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
        str, typer.Option(help="A data set, sample or a file; by default what each was trained on.")
    ] = "",
    tasks: Annotated[
        str, typer.Option(help="A part of it, such as 1,2,16-19; by default what each was trained on.")
    ] = "",
    split: Annotated[str, typer.Option(help="test or valid; by default test where there is one.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the JSON to this file as well.")] = None,
) -> None:
    """Print what checkpoints reach on held-out data, by eager torch.

    The bAbI test of one checkpoint, or the joint table of networks trained for one task each:

        python -m models evaluate runs/babi

        python -m models evaluate runs/single/* --out single.json

    A checkpoint of your own stories is measured on those that were held out, or on another file of yours:

        python -m models evaluate runs/mine

        python -m models evaluate runs/mine --data more.jsonl
    """
    with _plain_errors(ValueError, OSError):
        choice = DataChoice(data, tasks=tasks, split=split)
        loaded = load_checkpoints(checkpoints)
        kinds = {
            FAMILIES[one.family].task if one.family in FAMILIES else one.family for one in loaded.values()
        }
        if len(kinds) > 1 or not kinds <= LEARNING.keys():
            raise ValueError(f"one table is about one task, not {' and '.join(sorted(kinds))}")
        report = LEARNING[kinds.pop()].measure(loaded, choice)
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
    table.columns[0].min_width = max(map(len, FAMILIES))  # a name is there to be typed
    for family in FAMILIES.values():
        table.add_row(family.name, family.task, family.paper, ", ".join(presets(family.name)))
    console.print(table)


def _command(family: str, given: dict[str, Any], changes: list[str]) -> str:
    """Return the command line that repeats a run, without folders of this machine."""
    words = [f"--{name}={value}" for name, value in given.items() if value not in (None, "")]
    return shlex.join(
        ["python", "-m", "models", "train", family, *words, *(f"--set={one}" for one in changes)]
    )


def _announce(family: str, plan: Plan, folder: Path) -> None:
    parameters = sum(weight.numel() for weight in plan.recipe.network().parameters())
    size, *more = plan.summary
    console.print(f"{FAMILIES[family].title}: {size}, {parameters:,} parameters, run folder {folder}")
    for line in more:
        console.print(line)


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
