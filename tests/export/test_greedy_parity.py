"""What the comparison of greedy decoders catches, and what it lets pass."""

import numpy as np
import pytest
import torch

from export.forms import certify
from export.greedy import LENGTHS, SCORES, TIE
from export.greedy_parity import DrivenSession, compare_greedy
from export.parity import BatchMatters, ShapesDiffer, ValuesDiffer
from export.wrappers import EagerSession
from server.errors import RunError
from server.runtime.onnx_session import OnnxSession
from tests.export.small import quiet
from tests.export.stepwise import IDS, stepwise_graphs

TOLERANCE = 1e-5


@pytest.fixture(autouse=True)
def small_grid(monkeypatch):
    monkeypatch.setattr("export.parity.BATCHES", (1, 3))


class Spoiled:
    """Eager torch with one thing done to its outputs."""

    runtime, device = "eager", "cpu"

    def __init__(self, graph, spoil):
        self.session = EagerSession(graph)
        self.spoil = spoil

    def run(self, inputs, outputs):
        return self.spoil(inputs, self.session.run(inputs, outputs))

    def close(self):
        self.session.close()


def compare(spoil, graphs=None):
    graphs = graphs or stepwise_graphs()
    comparisons, _ = compare_greedy(graphs, {"form": Spoiled(graphs.model, spoil)}, TOLERANCE)
    return comparisons["form"]


def test_the_certificate_covers_loop_stages_and_driven_stages(stepwise):
    graphs, forms = stepwise
    certificate = certify(graphs, forms, TOLERANCE, quiet)
    assert certificate["largest_difference"].keys() == {"onnx", "torchscript", "driven"}
    assert certificate["tie"] == TIE
    for one in certificate["largest_difference"].values():
        assert one["ties"] == 0
        assert list(one["from_reference"]) == graphs.model.outputs
        assert max(one["from_reference"].values()) <= TOLERANCE
    assert certificate["graphs"].keys() == {"encoder", "step"}
    for stage, one in certificate["graphs"].items():
        assert one["largest_difference"].keys() == {"onnx", "torchscript"}
        assert list(one["noise"]) == graphs.stages[stage].outputs


def test_driven_stages_decode_what_the_loop_decodes(stepwise):
    graphs, forms = stepwise
    sessions = {
        "onnx": OnnxSession(forms["model"]),
        "driven": DrivenSession(graphs, OnnxSession(forms["encoder"]), OnnxSession(forms["step"])),
    }
    comparisons, noise = compare_greedy(graphs, sessions, TOLERANCE)
    for comparison in comparisons.values():
        assert comparison.values["tokens"] == comparison.alone["tokens"] == 0
        assert comparison.values["attention"] < TOLERANCE
    assert 0 < noise[SCORES] < TOLERANCE


def test_another_choice_is_caught_with_its_step():
    def spoil(inputs, outputs):
        tokens = outputs["tokens"].copy()
        tokens[0, 1] += 1
        return outputs | {"tokens": tokens}

    with pytest.raises(ValuesDiffer, match=r"request 0: step 1 chooses \d+ and eager torch \d+"):
        compare(spoil)


def test_where_rounding_decides_another_choice_is_counted():
    graphs = stepwise_graphs()
    graphs.stages["step"].module.outer.weight.data[:] = 0
    graphs.stages["step"].module.outer.bias.data[:] = 1e-6 * (torch.arange(IDS) == 5)

    def spoil(inputs, outputs):
        return outputs | {"tokens": np.where(outputs["tokens"] == 5, 6, 0)}

    comparison = compare(spoil, graphs)
    assert comparison.ties > 0
    assert comparison.values[SCORES] == 0


def test_a_wrong_score_is_caught():
    def spoil(inputs, outputs):
        return outputs | {SCORES: np.where(outputs[SCORES] < 0, outputs[SCORES] + np.float32(1e-3), 0)}

    with pytest.raises(ValuesDiffer, match=r"scores at \[\d+\] is 0.001 away from eager torch"):
        compare(spoil)


def test_a_row_that_goes_on_after_its_end_is_caught():
    def spoil(inputs, outputs):
        attention = np.where(outputs["tokens"][..., None] == 0, 0.5, outputs["attention"])
        return outputs | {"attention": attention.astype(np.float32)}

    with pytest.raises((BatchMatters, ValuesDiffer)):
        compare(spoil)


def test_a_row_that_depends_on_its_batch_is_caught():
    def spoil(inputs, outputs):
        if len(inputs["source_tokens"]) == 1:
            return outputs
        scores = np.where(outputs[SCORES] < 0, outputs[SCORES] + np.float32(8e-6), 0)
        return outputs | {SCORES: scores.astype(np.float32)}

    graphs = stepwise_graphs()
    session = Spoiled(graphs.model, spoil)
    with pytest.raises((BatchMatters, ValuesDiffer)):
        compare_greedy(graphs, {"form": session}, 1e-6)


def test_a_missing_axis_and_a_failing_graph_are_caught():
    with pytest.raises(ShapesDiffer, match="attention is float32"):
        compare(lambda inputs, outputs: outputs | {"attention": outputs["attention"][..., :0]})

    def fail(inputs, outputs):
        raise RunError("the graph failed on this input")

    with pytest.raises(ShapesDiffer, match="takes no batch of these sizes"):
        compare(fail)


def test_a_shorter_row_is_caught():
    with pytest.raises(ValuesDiffer, match="steps in all"):
        compare(lambda inputs, outputs: outputs | {LENGTHS: np.maximum(outputs[LENGTHS] - 1, 1)})
