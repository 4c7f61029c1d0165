"""Measuring computing networks: wrong results at the trained length, ten and a hundred times longer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import numpy as np

from export.served import Served
from models.data.arithmetic import kinds, operand_digits, problem
from models.learning import Cell, DataChoice, ResultTable
from server.tasks.computing import Base, ComputeAnswer, ComputeRequest, Operation, lay_out

COUNTS = {1: 1000, 10: 1000, 100: 100}
"""How many random problems are asked at how many times the longest trained operands."""
STRUCTURED = {1: 200, 10: 200}
"""How many of each structured kind."""


def measure_computing(served: Served, choice: DataChoice, progress: Callable[[int, int], Any]) -> ResultTable:
    """Ask random and structured problems, as long as the bundle takes them; ``--tasks 1,10`` leaves out 100.

    Raises:
        ValueError: ``--tasks`` names another multiple of the trained length.
    """
    manifest = served.bundle.manifest
    operation = cast(Operation, manifest.selector["operation"])
    base = cast(Base, manifest.selector["base"])
    longest = operand_digits(operation, max(manifest.training["options"]["cells"]))
    rows: list[dict[str, Cell]] = []
    for times in _chosen(choice.tasks):
        digits = longest * times
        if len(lay_out(operation, ["0" * digits] * 2, base)) > manifest.limits["max_cells"]:
            break
        for kind in kinds(operation):
            count = COUNTS[times] if kind == "random" else STRUCTURED.get(times, 0)
            rng = np.random.default_rng([2017, digits])
            problems = [problem(operation, base, digits, rng, kind) for _ in range(count)]
            requests = [
                ComputeRequest(operation, list(one.operands), base, attention="none") for one in problems
            ]
            answers = served.answers(requests, partial(_tell, progress, len(requests)))
            wrong = sum(_result(answer) != one.result for answer, one in zip(answers, problems, strict=True))
            if count:
                share = 100 * wrong / count
                rows.append(
                    {"kind": kind, "digits": digits, "problems": count, "wrong": wrong, "wrong %": share}
                )
    title = f"{operation} in base {base}, trained on up to {longest} digits"
    return ResultTable(title, rows, (), served.measured_by)


def _chosen(tasks: str) -> list[int]:
    names = tasks.split(",") if tasks else list(map(str, COUNTS))
    if not set(names) <= set(map(str, COUNTS)):
        raise ValueError(f"--tasks is one or more of {', '.join(map(str, COUNTS))}, not {tasks!r}")
    return sorted(map(int, names))


def _result(answer: Any) -> str:
    if isinstance(answer, Exception):
        raise answer
    assert isinstance(answer, ComputeAnswer)
    return answer.result


def _tell(progress: Callable[[int, int], Any], total: int, done: int) -> None:
    progress(done, total)
