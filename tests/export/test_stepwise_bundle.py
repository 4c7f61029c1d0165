"""A bundle of three graphs, from the checkpoint to the checks that a server makes."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from export import graphs, probes, verification
from export.verification import verify
from export.writing import Label, files_of, write_bundle
from models import families
from models.checkpoint import Checkpoint
from server.contract.manifest import GraphSpec
from server.contract.subwords import Subwords
from server.errors import BundleError
from server.runtime.golden import replay
from server.runtime.session import open_stage
from server.tasks import TASKS
from tests.export.small import engram_export, quiet
from tests.export.stepwise import IDS, stepwise_graphs

LENGTHS = (1, 2, 5, 13)


@pytest.fixture(scope="module")
def written(stepwise, tmp_path_factory):
    """A bundle of the small stepwise network, as a family of its own."""
    made, forms = stepwise
    family = replace(families.FAMILIES["dmn_plus"], name="echo", task="translate")
    task = SimpleNamespace(check=lambda bundle: None)

    def requests(bundle):
        rng = np.random.default_rng(0)
        return [{"source_tokens": rng.integers(1, IDS, size=length)} for length in LENGTHS]

    checkpoint = Checkpoint(
        "echo", {}, {}, [], [], {"max_source_tokens": 13}, {"command": "python -m models train echo"}
    )
    checkpoint = replace(checkpoint, selector={"source": "en"}, tokenizer=Subwords.learn([], 260).dump())
    label = Label("echo", "It echoes.", selector={"target": "fr"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(families.FAMILIES, "echo", family)
        patch.setitem(graphs.GRAPHS, "echo", lambda checkpoint: made)
        patch.setitem(probes.PROBES, "translate", requests)
        patch.setitem(TASKS, "translate", lambda: task)
        patch.setattr("export.writing.export_forms", lambda *_: forms)
        patch.setattr("export.parity.BATCHES", (1, 2))
        yield write_bundle(checkpoint, tmp_path_factory.mktemp("echo"), label, quiet)


def test_every_graph_has_a_file_and_probes(written):
    roles = written.manifest.graphs
    assert {"model", "encoder", "step", "golden", "encoder_golden", "step_golden", "parity"} <= roles.keys()
    assert len(set(roles.values())) == len(roles)
    assert all(written.file(role) in written.manifest.files for role in roles)


def test_the_manifest_describes_the_stages(written, stepwise):
    for stage, graph in stepwise[0].stages.items():
        spec = written.manifest.stages[stage]
        assert (spec.inputs, spec.outputs) == (graph.signature.inputs, graph.signature.outputs)


def test_selector_of_checkpoint_and_label_are_one(written):
    assert written.manifest.selector == {"source": "en", "target": "fr"}


def test_pieces_of_words_are_the_tokenizer(written):
    assert written.vocabulary is None
    assert written.subwords.text(written.subwords.ids("près")) == "près"


def test_a_server_finds_every_stage_as_it_should_be(written):
    assert verify(written) == ["onnx", "torchscript"]
    for stage, spec in written.manifest.stages.items():
        for runtime in ("onnx", "torchscript"):
            replay(open_stage(written, stage, runtime), spec, written.probes(f"{stage}_golden"))


def test_probes_of_the_step_come_from_further_and_further_along(written):
    states = [probe["state"] for probe in written.probes("step_golden").inputs]
    assert len(states) == len(LENGTHS)
    assert written.probes("step_golden").inputs[0]["previous_token"] == 0
    assert len({int(probe["previous_token"]) for probe in written.probes("step_golden").inputs}) > 1


def test_a_spoiled_stage_is_refused(written, tmp_path):
    content = onnx.load(written.path("step"))
    tensor = max(content.graph.initializer, key=lambda tensor: tensor.ByteSize())
    values = onnx.numpy_helper.to_array(tensor) + np.float32(0.01)
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    session = verification.open_stage
    spec: GraphSpec = written.manifest.stages["step"]
    onnx.save(content, tmp_path / "step.onnx")
    broken = type(session(written, "step", "onnx"))((tmp_path / "step.onnx").read_bytes())
    with pytest.raises(BundleError, match="differs by"):
        replay(broken, spec, written.probes("step_golden"))


def test_triton_serves_the_loop(written):
    text = (written.folder / "config.pbtxt").read_text()
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    assert [tensor.name for tensor in config.input] == ["source_tokens"]
    dims = {tensor.name: list(tensor.dims) for tensor in config.output}
    assert dims == {"tokens": [-1], "scores": [-1], "attention": [-1, -1], "lengths": [1]}
    assert [tensor.name for tensor in config.output if tensor.HasField("reshape")] == ["lengths"]


def test_inspect_and_verify_show_every_graph(written):
    result = engram_export("inspect", written.folder)
    assert result.exit_code == 0, result.output
    for words in ("stage encoder", "stage step", "next_state", "parity of the step", "source en", "driven"):
        assert words in result.output
    result = engram_export("verify", written.folder)
    assert "4 probes, and those of its encoder, and those of its step" in result.output


def test_the_certificate_lies_in_the_bundle(written):
    certificate = json.loads(written.read(written.file("parity")))
    assert certificate["graphs"].keys() == {"encoder", "step"}


def test_a_stage_that_is_the_whole_shares_its_files():
    whole = stepwise_graphs().stages["step"]
    files = files_of(graphs.Graphs(whole, {"step": whole}), torchscript=True)
    assert files["step"] == files["model"] == "model.onnx"
    assert files["step_golden"] == files["golden"] == "golden.npz"
    assert files["step_torchscript"] == files["torchscript"] == "model.pt"
