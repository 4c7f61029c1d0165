"""``engram point``: a file of points in, what a network found among them out, drawn in the plane."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, cast

import typer
from rich.console import Console

from engram.cli import inputs, report
from engram.cli.common import EXIT_CODES, Json, Timeout, Url, connect, console, save, warn
from engram.cli.failures import UsageProblem
from engram.cli.plane import Place, plane
from engram.options import DEFAULT_TIMEOUT_S
from engram.pointing import PointAnswer, PointOptions, PointTask

EXAMPLES = (
    "[bold]Examples[/bold]\n\n"
    "  engram point cities.csv --task tour\n\n"
    "  engram point cities.csv --task tour --beam 32 --picture tour.svg\n\n"
    "  cat points.csv | engram point - --task convex_hull --json | jq .indices\n\n" + EXIT_CODES
)


def point(
    context: typer.Context,
    *,
    points: Annotated[
        str,
        typer.Argument(help="A file with one point a line, as in 0.5,0.25, or -.", show_default=False),
    ],
    task: Annotated[PointTask, typer.Option("--task", help="What to find.", show_default=False)],
    beam: Annotated[
        int | None,
        typer.Option("--beam", help="How many answers to follow at a time.", min=1, show_default=False),
    ] = None,
    free: Annotated[
        bool, typer.Option("--free", help="Let the network alone decide, even for an invalid answer.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="NAME", help="A model (or NAME:VERSION) instead of the default."),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option("--picture", metavar="FILE", help="Also draw it into this .svg or .png file."),
    ] = None,
    as_json: Json = False,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    url: Url = None,
) -> None:
    """Find the convex hull, a triangulation or a short round trip of points.

    Prints the points with what was found among them, their numbers in the order in which the model
    pointed at them, and how good the answer is.
    """
    given = {"model": model, "beam_size": beam, "constrained": False if free else None}
    options = cast(PointOptions, {name: value for name, value in given.items() if value is not None})
    drawn = (picture, inputs.picture_format(picture)) if picture else None
    places = parse_points(inputs.read_text(points, "list of points"))
    with connect(context, url, timeout) as client:
        answer = client.point(places, task, **options)
        warn(answer.warnings)
        if as_json:
            report.write_json(answer.raw)
        else:
            show(console(), places, answer)
        if drawn:
            path, form = drawn
            save(client.point_picture(places, task, format=form, **options), path)


def parse_points(text: str) -> list[Place]:
    """Read ``x,y`` lines, with commas, semicolons or blanks between; a first line of names is left out.

    Raises:
        UsageProblem: A line is not two numbers.
    """
    places: list[Place] = []
    for number, line in enumerate(text.splitlines(), start=1):
        fields = re.split(r"[,;\t]", line) if re.search(r"[,;\t]", line) else line.split()
        fields = [field.strip().strip('"') for field in fields]
        if not any(fields):
            continue
        numbers = [_number(field) for field in fields]
        if len(numbers) == 2 and None not in numbers:
            places.append(cast(Place, tuple(numbers)))
        elif number > 1 or len(fields) != 2 or any(value is not None for value in numbers):
            raise UsageProblem(
                f"line {number} is {inputs.shortened(line)!r}, expected two numbers such as 0.5,0.25"
            )
    if not places:
        raise UsageProblem("there are no points")
    return places


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def show(out: Console, places: list[Place], answer: PointAnswer) -> None:
    """Print the points in the plane, the answer and its measures."""
    chosen = {place for side in answer.sides for place in side}
    for line in plane(places, answer.sides, chosen):
        out.print(line, no_wrap=True, crop=False)
    out.print()
    out.print(" ".join(str(one) for one in answer.indices), soft_wrap=True, markup=False)
    quality = "" if answer.valid else ", [bold red]not a valid answer[/bold red]"
    out.print(f"{answer.measures}, probability {answer.score:.3f}{quality}", highlight=False)
