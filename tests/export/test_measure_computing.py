from pathlib import Path
from types import SimpleNamespace

import pytest

from export import measure_computing
from models.data.arithmetic import solve
from models.learning import DataChoice
from server.tasks.computing import ComputeAnswer


class Calculator:
    """A bundle that is right about everything but sums whose first operand is zero."""

    measured_by = "a calculator"

    def __init__(self, max_cells=300):
        manifest = SimpleNamespace(
            selector={"operation": "add", "base": 2},
            training={"options": {"cells": [3, 4]}},
            limits={"max_cells": max_cells},
        )
        self.bundle = SimpleNamespace(folder=Path(), manifest=manifest)

    def answers(self, requests, progress):
        progress(len(requests))
        return [
            ComputeAnswer(
                "1" if int(one.operands[0]) == 0 else solve("add", one.operands, one.base), 1.0, 4, None
            )
            for one in requests
        ]


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(measure_computing, "COUNTS", {1: 40, 10: 5, 100: 3})
    monkeypatch.setattr(measure_computing, "STRUCTURED", {1: 4, 10: 2})


def rows(choice="", **options):
    table = measure_computing.measure_computing(
        Calculator(**options), DataChoice(tasks=choice), lambda *_: None
    )
    return [(row["kind"], row["digits"], row["problems"]) for row in table.rows], table.rows


def test_every_kind_is_asked_and_the_longest_are_random():
    asked, found = rows(max_cells=400)
    assert ("random", 3, 40) in asked
    assert ("carry chain", 30, 2) in asked
    assert asked[-1] == ("random", 300, 3)
    assert 0 < found[0]["wrong %"] < 50  # three digits are zero now and then
    assert found[-1]["wrong"] == 0


def test_what_a_bundle_does_not_take_is_not_asked():
    assert max(digits for _, digits, _ in rows(max_cells=300)[0]) == 30


def test_some_lengths_can_be_chosen():
    assert {digits for _, digits, _ in rows("10")[0]} == {30}
    with pytest.raises(ValueError, match="one or more of 1, 10, 100"):
        rows("20")
