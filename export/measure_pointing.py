"""Measuring pointer networks: exact answers, coverage, lengths over the optimum, and how many are invalid."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import numpy as np

from export.served import Served
from models.data.geometry import Instances, Task
from models.data.tours import tour_lengths
from models.learning import Cell, DataChoice, ResultTable
from models.point_learning import held_out
from server.tasks.pointing_form import PointAnswer, PointRequest

BEAMS: dict[Task, int] = {"convex_hull": 4, "delaunay": 8, "tour": 16}
"""How many answers are followed at a time."""

NOTES = (
    "exact: the hull up to rotation, the triangulation up to order; a round trip as short as the optimum",
    "an invalid polygon covers nothing; optima by dynamic programming (12 cities) or an integer programme",
    "free: greedy, and nothing but the network decides what is pointed at",
)
SAME_LENGTH = 1e-6


def measure_pointing(served: Served, choice: DataChoice, progress: Callable[[int, int], Any]) -> ResultTable:
    """Answer every held-out instance twice: by constrained beam search, and by the network alone."""
    task = cast(Task, served.bundle.manifest.selector["task"])
    instances = held_out(task, choice)
    limit = served.bundle.manifest.limits["max_points"]
    instances = {size: own for size, own in instances.items() if size <= limit}
    total, done = 2 * sum(len(own.points_CP2) for own in instances.values()), 0
    rows: list[dict[str, Cell]] = []
    for size, own in instances.items():
        for beam, constrained in ((BEAMS[task], True), (1, False)):
            requests = [
                PointRequest(task, points, beam_size=beam, constrained=constrained, attention="none")
                for points in own.points_CP2.tolist()
            ]
            answers = served.answers(requests, partial(_told, progress, done, total))
            done += len(requests)
            label = f"{size} points, " + (f"beam {beam}" if constrained else "free")
            found = [_answer(answer) for answer in answers]
            rows.append({"instances": label, "count": len(found), **_row(task, own, found)})
    title = f"{task}: points drawn uniformly in the unit square, not seen in training"
    return ResultTable(title, rows, NOTES, served.measured_by, decimals=4)


def _told(progress: Callable[[int, int], Any], before: int, total: int, count: int) -> None:
    progress(before + count, total)


def _answer(found: Any) -> PointAnswer:
    if isinstance(found, Exception):
        raise found
    assert isinstance(found, PointAnswer)
    return found


def _row(task: Task, own: Instances, answers: list[PointAnswer]) -> dict[str, Cell]:
    invalid = 100 * float(np.mean([not answer.valid for answer in answers]))
    if task == "tour":
        return {**_lengths(own, answers), "invalid %": invalid}
    pairs = zip(answers, own.answers_CL.tolist(), strict=True)
    form = _cycle if task == "convex_hull" else _triangles
    exact = [form(_flat(answer)) == form([place for place in known if place >= 0]) for answer, known in pairs]
    coverage = [
        answer.measures.area_coverage if task == "convex_hull" else answer.measures.triangle_coverage
        for answer in answers
    ]
    name = "area %" if task == "convex_hull" else "triangles %"
    return {
        "exact %": 100 * float(np.mean(exact)),
        name: 100 * float(np.mean([one or 0.0 for one in coverage])),
        "invalid %": invalid,
    }


def _lengths(own: Instances, answers: list[PointAnswer]) -> dict[str, Cell]:
    """Compare mean lengths; an invalid round trip spoils them and is seen beside them."""
    best = tour_lengths(own.points_CP2.astype(np.float64), own.answers_CL.astype(np.int64))
    length = np.array([answer.measures.length for answer in answers], np.float64)
    simple = np.array([answer.measures.heuristic_length for answer in answers], np.float64)
    return {
        "exact %": 100 * float(np.mean(length <= best * (1 + SAME_LENGTH))),
        "length / optimum": float(length.mean() / best.mean()),
        "2-opt / optimum": float(simple.mean() / best.mean()),
    }


def _flat(answer: PointAnswer) -> list[int]:
    return np.array(answer.indices, np.int64).ravel().tolist() if answer.valid else []


def _cycle(places: list[int]) -> tuple[int, ...]:
    """Return a cycle from its lowest place on."""
    start = places.index(min(places)) if places else 0
    return tuple(places[start:] + places[:start])


def _triangles(places: list[int]) -> set[frozenset[int]]:
    return {frozenset(places[start : start + 3]) for start in range(0, len(places), 3)}
