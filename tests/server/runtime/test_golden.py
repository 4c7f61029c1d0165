import numpy as np
import pytest

from server.contract.bundle import Probes
from server.contract.manifest import GraphSpec, TensorSpec
from server.errors import BundleError
from server.runtime.golden import replay
from tests.server.fakes import SIGNATURE, FakeSession, probes


class Altered(FakeSession):
    """Changes what the arithmetic gives."""

    def __init__(self, alter):
        super().__init__()
        self.alter = alter

    def run(self, inputs, outputs):
        return self.alter(inputs, super().run(inputs, outputs))


def changed(name, change):
    return lambda inputs, values: values | {name: change(values[name])}


def nudge(values):
    values = values.copy()
    values[0, 1, 2:] += 0.25
    return values


def only_in_batches(inputs, values):
    return (
        values
        if len(inputs["story_tokens"]) == 1
        else changed("attention", lambda array: array * 0.5)(0, values)
    )


def test_a_session_that_computes_the_same_passes():
    session = FakeSession()
    replay(session, SIGNATURE, probes())
    assert session.batches == [1, 1, 2]


@pytest.mark.parametrize(
    ("alter", "reason"),
    [
        (changed("attention", nudge), r"probe 1: output 'attention' differs by 0\.25 at \[1, 2\], .* 1e-06"),
        (changed("attention", lambda array: array * np.nan), r"probe 0: output 'attention' differs by nan"),
        (changed("attention", lambda array: array[:, :2]), r"has the shape \[2, 1\], expected \[3, 1\]"),
        (only_in_batches, "probe 0 in a batch: output 'attention' differs by 0.5"),
    ],
    ids=["value", "no-number", "shape", "padding"],
)
def test_a_session_that_computes_something_else_is_refused_with_output_place_and_distance(alter, reason):
    with pytest.raises(BundleError, match=reason):
        replay(Altered(alter), SIGNATURE, probes())


def test_a_difference_within_the_tolerance_passes():
    golden = probes()
    session = Altered(changed("attention", lambda array: array + 0.01))
    replay(session, SIGNATURE, Probes(golden.inputs, golden.outputs, 0.02))


def test_probes_that_do_not_fit_the_signature_are_refused():
    golden = probes()
    lacking = tuple({"story_tokens": probe["story_tokens"]} for probe in golden.inputs)
    with pytest.raises(BundleError, match="'question_tokens' is missing"):
        replay(FakeSession(), SIGNATURE, Probes(lacking, golden.outputs, 1e-6))
    without = tuple({name: probe[name] for name in probe if name != "attention"} for probe in golden.outputs)
    with pytest.raises(BundleError, match="no output 'attention'"):
        replay(FakeSession(), SIGNATURE, Probes(golden.inputs, without, 1e-6))


class Counting:
    """Counts to each request's length; a batch counts on with zeros."""

    def __init__(self, spoil=lambda counted: counted):
        self.spoil = spoil

    def run(self, inputs, outputs):
        lengths = (inputs["words"] != 0).sum(axis=1)
        steps = np.arange(1, lengths.max() + 1)
        return {"counted": self.spoil(np.where(steps <= lengths[:, None], steps, 0))}


COUNTING = GraphSpec(
    inputs=(TensorSpec(name="words", datatype="INT64", dims=("batch", "words")),),
    outputs=(TensorSpec(name="counted", datatype="INT64", dims=("batch", "steps")),),
)


def counts():
    return Probes(
        tuple({"words": np.ones(length, np.int64)} for length in (1, 3, 2)),
        tuple({"counted": np.arange(1, length + 1)} for length in (1, 3, 2)),
        1e-5,
    )


def test_an_axis_that_only_outputs_have_is_longer_in_a_batch():
    replay(Counting(), COUNTING, counts())


def test_an_axis_that_only_outputs_have_must_be_right_alone():
    with pytest.raises(BundleError, match=r"probe 0: output 'counted' has the shape \[2\], expected \[1\]"):
        replay(Counting(lambda counted: np.pad(counted, ((0, 0), (0, 1)))), COUNTING, counts())
