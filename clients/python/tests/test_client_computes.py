"""Computing through the SDK and ``engram compute``: digits in, digits out, and the memory's activity."""

import json

import httpx2
import pytest
from typer.testing import CliRunner

import engram
from engram.cli.app import app

PAYLOAD = {
    "result": "10",
    "score": 0.9375,
    "steps": 2,
    "attention": {
        "kind": "memory_activity",
        "normalized_over": None,
        "axes": [
            {"name": "step", "labels": ["1", "2"]},
            {"name": "cell", "labels": ["1+0", "0+1", "·"]},
        ],
        "weights": [[0.25, 1.0, 0.09], [0.0, 0.5, 0.75]],
        "offset": 0,
    },
    "warnings": ["long carries are hard"],
    "model": {"name": "compute-add-binary", "version": 1},
    "timing_ms": {"queue": 0.1, "compute": 1.0, "total": 1.5},
    "batch_size": 1,
}


class Calculator:
    def __init__(self):
        self.payload, self.bodies = PAYLOAD, []

    def __call__(self, request):
        self.bodies.append(json.loads(request.content))
        return httpx2.Response(200, json=self.payload)


@pytest.fixture
def calculator():
    return Calculator()


@pytest.fixture
def run(calculator):
    def invoke(*arguments):
        return CliRunner().invoke(app, ["compute", *arguments], obj=httpx2.MockTransport(calculator))

    return invoke


def test_a_result_comes_with_the_activity_of_the_memory(calculator):
    with engram.Client(transport=httpx2.MockTransport(calculator)) as client:
        answer = client.compute("add", "01", "10", base=2)
    assert calculator.bodies == [{"operation": "add", "operands": ["01", "10"], "base": 2}]
    assert (answer.result, answer.score, answer.steps) == ("10", 0.9375, 2)
    assert answer.attention.weights.shape == (2, 3)


def test_the_command_shows_tenths_below_what_stood_in_each_cell(run):
    result = run("add", "01", "10")
    assert result.exit_code == 0
    assert result.stderr == "engram: note: long carries are hard\n"
    lines = result.stdout.splitlines()
    start = lines.index("   10·")
    assert lines[start + 1 : start + 5] == ["   ++", "   01", "1  290", "2  057"]


def test_what_was_not_sent_is_a_dot(run, calculator):
    attention = {**PAYLOAD["attention"], "weights": [[[1, 1.0]], [[2, 0.75]]]}
    calculator.payload = {**PAYLOAD, "attention": attention}
    assert ["1", "·9·"] in [line.split() for line in run("add", "01", "10").stdout.splitlines()]


def test_json_is_the_servers_own(run):
    assert json.loads(run("add", "01", "10", "--json").stdout) == PAYLOAD
