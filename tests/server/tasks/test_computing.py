import numpy as np
import pytest

from server.contract.bundle import Bundle
from server.contract.manifest import AttentionSpec, Manifest, Signature, TensorSpec
from server.errors import BundleError, InputTooLong, InvalidRequest, RunError
from server.tasks.computing import OPERANDS, ComputeRequest, Computing, cells_for, labels, lay_out


def bundle(**changes):
    signature = Signature(
        inputs=(TensorSpec(name="symbols", datatype="INT64", dims=("batch", "cells")),),
        outputs=(
            TensorSpec(name="probabilities", datatype="FP32", dims=("batch", "cells", 9)),
            TensorSpec(name="attention", datatype="FP32", dims=("batch", "cells", "cells")),
        ),
        attention=AttentionSpec(
            output="attention", kind="memory_activity", axes=("step", "cell"), normalized_over=None
        ),
    )
    fields = {"name": "adder", "task": "compute", "family": "fake", "description": "", "graphs": {}}
    fields |= {"selector": {"operation": "add", "base": 2}, "limits": {"max_cells": 9}, "files": {}}
    return Bundle(None, 1, Manifest(**fields | {"signature": signature} | changes), None)


TASK = Computing()
REQUEST = ComputeRequest("add", ["11", "1"])


def outputs(prepared, *digits):
    """What a graph that is quite sure of these digits would return."""
    size = len(prepared.arrays["symbols"])
    probabilities = np.full((size, 9), 0.0125, dtype=np.float32)
    for cell, digit in enumerate(digits):
        probabilities[cell, digit + 1] = 0.9
    activity = np.arange(size * size, dtype=np.float32).reshape(size, size) / size**2
    return {"probabilities": probabilities, "attention": activity}


def test_numbers_lie_least_significant_digit_first_and_get_the_same_length():
    prepared = TASK.prepare(REQUEST, bundle())
    assert prepared.arrays["symbols"].tolist() == [8, 7, 4]  # 1 over 1, 1 over 0, room for a carry
    assert lay_out("multiply", ["11", "1"], 2).tolist() == [2, 2, 3, 2, 1]
    assert prepared.outputs == ("probabilities", "attention")


def test_a_sequence_keeps_its_order_and_duplicating_needs_room():
    assert lay_out("reverse", ["10"], 2).tolist() == [2, 1]
    assert lay_out("duplicate", ["71"], 10).tolist() == [8, 2, 12, 12]


def test_the_first_cells_are_read_as_a_number():
    model = bundle()
    prepared = TASK.prepare(REQUEST, model)
    answer = TASK.interpret(outputs(prepared, 0, 0, 1), prepared, model)
    assert answer.result == "100"
    assert answer.score == pytest.approx(0.9**3, rel=1e-5)
    assert answer.steps == 3
    assert answer.attention.kind == "memory_activity"
    assert [axis.labels for axis in answer.attention.axes] == [list("123"), ["1+1", "1+0", "·"]]
    assert answer.warnings == []


def test_leading_zeros_are_no_part_of_a_number():
    model = bundle()
    prepared = TASK.prepare(ComputeRequest("add", ["0", "0"]), model)
    assert TASK.interpret(outputs(prepared, 0, 0), prepared, model).result == "0"


def test_attention_that_nobody_wants_is_not_asked_of_the_graph():
    model = bundle()
    prepared = TASK.prepare(ComputeRequest("add", ["1", "1"], attention="none"), model)
    assert prepared.outputs == ("probabilities",)
    assert TASK.interpret(outputs(prepared, 0, 1), prepared, model).attention is None


def test_a_large_attention_carries_the_top_cells_and_says_so():
    small, model = Computing(max_attention_weights=3), bundle()
    prepared = small.prepare(ComputeRequest("add", ["1", "1"], attention_top_k=1), model)
    answer = small.interpret(outputs(prepared, 0, 1), prepared, model)
    assert [row[0][0] for row in answer.attention.weights] == [1, 1]
    assert "ENGRAM_MAX_ATTENTION_WEIGHTS" in answer.warnings[0]


@pytest.mark.parametrize(
    ("request_", "field", "message"),
    [
        (ComputeRequest("add", ["1"]), "operands", "has 1 entries, add takes 2"),
        (ComputeRequest("add", ["1", ""]), "operands[1]", "not a string of digits 0 to 1"),
        (ComputeRequest("add", ["12", "1"]), "operands[0]", "not a string of digits 0 to 1"),
        (ComputeRequest("add", ["1", "\u0661"]), "operands[1]", "not a string of digits"),
        (ComputeRequest("multiply", ["1", "1"]), "operation", "'add'"),
        (ComputeRequest("add", ["1", "1"], base=10), "base", "has base 2"),
    ],
    ids=["one operand", "empty", "digit beyond the base", "digit of another script", "operation", "base"],
)
def test_what_cannot_be_computed_is_refused_with_its_field(request_, field, message):
    with pytest.raises(InvalidRequest) as refused:
        TASK.prepare(request_, bundle())
    assert refused.value.details["fields"] == [field]
    assert message in refused.value.message


def test_long_operands_are_refused_with_the_limit():
    with pytest.raises(InputTooLong, match=r"need 11 cells, this model takes 9"):
        TASK.prepare(ComputeRequest("add", ["1010101010", "1"]), bundle())


@pytest.mark.parametrize("operation", OPERANDS)
def test_cells_are_counted_before_operands_are_looked_at(operation):
    operands = ["10", "1101"][-OPERANDS[operation] :]
    assert cells_for(operation, operands) == len(lay_out(operation, operands, 2))
    adder = bundle(selector={"operation": operation, "base": 2})
    with pytest.raises(InputTooLong):
        TASK.prepare(ComputeRequest(operation, ["no digits at all"] * OPERANDS[operation]), adder)


def test_what_is_not_a_number_is_no_result():
    model = bundle()
    prepared = TASK.prepare(REQUEST, model)
    broken = outputs(prepared, 0, 0, 1)
    broken["probabilities"][0, 2] = np.nan
    with pytest.raises(RunError):
        TASK.interpret(broken, prepared, model)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"selector": {"operation": "add"}}, "operation and a base"),
        ({"limits": {}}, "max_cells"),
        ({"selector": {"operation": "add", "base": 10}}, "probabilities"),
    ],
    ids=["selector", "limit", "symbols"],
)
def test_an_incomplete_bundle_is_refused(changes, reason):
    TASK.check(bundle())
    with pytest.raises(BundleError, match=reason):
        TASK.check(bundle(**changes))


def test_labels_say_what_stands_in_each_cell():
    assert labels(10, lay_out("multiply", ["40", "7"], 10)) == ["0", "4", "*", "7", "0"]
    assert labels(2, lay_out("duplicate", ["1"], 2)) == ["1", "·"]
