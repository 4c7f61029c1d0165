import numpy as np
import pytest
from pydantic import ValidationError

from server.contract.manifest import Stage
from server.runtime.stepwise.wiring import Wiring, joint
from server.tasks import Prepared
from tests.server.counting import ENCODER, STEP, counting_manifest, spec


@pytest.fixture(scope="module")
def wiring():
    return Wiring.of(counting_manifest())


def prepared(**arrays):
    return Prepared(arrays, ("scores",), None)


def test_a_step_output_with_next_makes_its_input_a_state(wiring):
    assert wiring.states == {"total", "trail"}


def test_the_encoder_makes_what_the_step_takes_by_the_same_name(wiring):
    assert wiring.made == {"memory", "factors", "total", "trail"}


def test_outputs_that_nobody_wants_are_left_out_and_states_never(wiring):
    assert wiring.step_outputs(["places"]) == ["next_total", "next_trail", "places"]
    assert wiring.step_outputs([]) == ["next_total", "next_trail"]
    assert wiring.encoder_outputs([]) == ["memory", "factors", "total", "trail"]


def test_a_row_costs_as_many_cells_as_its_largest_named_axes(wiring):
    assert wiring.cells({"numbers": 5, "digits": 2}) == 5
    assert wiring.cells({"numbers": 2, "digits": 3}) == 3
    assert wiring.cells({}) == 1


def test_a_newcomer_is_measured_by_what_its_encoder_takes(wiring):
    newcomer = wiring.newcomer(prepared(numbers=np.array([4, 2, 6])))
    assert (newcomer.sizes, newcomer.shape, newcomer.cells) == ({"numbers": 3}, (3,), 3)


def test_a_newcomer_that_does_not_fit_is_refused(wiring):
    with pytest.raises(ValueError, match="'numbers' is missing"):
        wiring.newcomer(prepared())
    with pytest.raises(ValueError, match="has 2 axes"):
        wiring.newcomer(prepared(numbers=np.zeros((2, 3))))


def test_a_model_without_an_encoder_is_measured_by_the_states_that_a_request_brings():
    graphs = {"step": "model.onnx", "step_golden": "golden.npz"}
    wiring = Wiring.of(counting_manifest(stages={"step": STEP}, graphs=graphs))
    newcomer = wiring.newcomer(prepared(trail=np.zeros(5), total=np.array(3)))
    assert (newcomer.sizes, newcomer.cells, wiring.made) == ({"numbers": 5}, 5, set())


def test_the_joint_size_of_an_axis_is_the_largest():
    assert joint([{"a": 2, "b": 7}, {"a": 5}, {"c": 1}]) == {"a": 5, "b": 7, "c": 1}


def changed(stage, **places):
    """Return a stage with some of its outputs replaced."""
    outputs = tuple(places.get(each.name, each) for each in stage.outputs)
    return stage.model_copy(update={"outputs": tuple(each for each in outputs if each is not None)})


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ({"encoder": ENCODER}, "stages without a step"),
        ({"step": changed(STEP, next_total=spec("next_sum", "INT64"))}, "next_sum is the input of no step"),
        ({"step": changed(STEP, next_total=spec("next_total", "FP32"))}, "the step takes total as INT64"),
        (
            {"step": STEP, "encoder": changed(ENCODER, trail=spec("trail", "INT64", 3))},
            "the step takes trail as INT64",
        ),
        (
            {
                "step": STEP,
                "encoder": ENCODER.model_copy(update={"outputs": (spec("strange", "INT64", "numbers"),)}),
            },
            "nothing that the step takes",
        ),
    ],
    ids=["no-step", "no-input", "datatype", "axes", "no-link"],
)
def test_a_manifest_whose_stages_do_not_wire_up_is_refused(stages, message):
    with pytest.raises(ValidationError, match=message):
        counting_manifest(stages=stages)


def test_a_manifest_without_the_graph_or_the_probes_of_a_stage_is_refused():
    for role in ("step", "encoder_golden"):
        graphs = dict.fromkeys(("encoder", "step", "encoder_golden", "step_golden"), "a.onnx")
        del graphs[role]
        with pytest.raises(ValidationError, match=f"no file in the role {role}"):
            counting_manifest(graphs=graphs)


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ([spec("a", "FP32"), spec("a", "FP32")], "a name comes twice"),
        ([spec("a", "FP32", "strange")], "axes that no input has: strange"),
        ([spec("a", "FP32").model_copy(update={"dims": ("rows",)})], "first axis of a is not batch"),
    ],
    ids=["twice", "axis", "batch"],
)
def test_a_stage_with_impossible_tensors_is_refused(specs, message):
    with pytest.raises(ValidationError, match=message):
        Stage(inputs=ENCODER.inputs, outputs=specs)
