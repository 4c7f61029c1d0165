from types import SimpleNamespace

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.errors import BundleError, RunError
from server.runtime.golden import replay
from server.runtime.onnx_session import CPU, CUDA, OnnxSession, heavy_nodes_on_cpu
from server.runtime.session import open_session
from tests.server.fakes import GRAPH, SIGNATURE, arithmetic

OUTPUTS = [spec.name for spec in SIGNATURE.outputs]
SESSION = GRAPH.read_bytes()


@pytest.fixture(scope="module")
def onnx():
    return OnnxSession(SESSION)


def make_batch(batch, facts, words):
    story = np.arange(batch * facts * words).reshape(batch, facts, words) % 17 + 2
    return {"story_tokens": story, "question_tokens": story[:, 0, :]}


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 5), st.integers(1, 7), st.integers(1, 6))
def test_the_graph_gives_what_the_arithmetic_gives_at_every_size(onnx, batch, facts, words):
    inputs = make_batch(batch, facts, words)
    outputs = onnx.run(inputs, OUTPUTS)
    for name, values in arithmetic(**inputs).items():
        np.testing.assert_allclose(outputs[name], values, rtol=1e-6)
        assert outputs[name].dtype == np.float32


def test_only_the_named_outputs_come_back(onnx):
    assert set(onnx.run(make_batch(2, 3, 5), ["attention"])) == {"attention"}


def test_a_failing_graph_says_nothing_of_its_inside(onnx):
    with pytest.raises(RunError) as caught:
        onnx.run({"story_tokens": np.ones((2, 3), np.int64)}, OUTPUTS)
    assert caught.value.message == "the graph failed on this input"


def test_a_file_that_is_no_graph_is_refused():
    with pytest.raises(BundleError, match="cannot load the graph"):
        OnnxSession(b"not a graph")


def test_the_bundle_opens_on_the_cpu_and_its_probes_pass(bundle):
    session = open_session(bundle)
    assert (session.runtime, session.device) == ("onnx", "cpu")
    replay(session, bundle.manifest.signature, bundle.probes())
    session.close()


def test_a_runtime_this_server_does_not_have_is_named(bundle):
    with pytest.raises(BundleError, match="no runtime 'triton'"):
        open_session(bundle, "triton")


def test_a_session_has_one_thread_that_does_not_spin(onnx):
    options = onnx._session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


@pytest.fixture
def cpu_build(monkeypatch):
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CPU])


@pytest.fixture
def opened(monkeypatch):
    """What ONNX Runtime opens when asked for CUDA: a build that has it, and providers and nodes to be set."""
    state = SimpleNamespace(providers=[CUDA, CPU], nodes=[], asked=[])

    def open_fake(content, options, providers):
        state.asked.append(providers[0] if isinstance(providers[0], str) else providers[0][0])
        return SimpleNamespace(
            get_providers=lambda: state.providers, get_provider_graph_assignment_info=lambda: state.nodes
        )

    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(ort, "InferenceSession", open_fake)
    return state


def part(provider, *types):
    return SimpleNamespace(
        ep_name=provider, get_nodes=lambda: [SimpleNamespace(op_type=type_) for type_ in types]
    )


def test_cuda_is_refused_by_a_build_for_the_cpu(cpu_build):
    with pytest.raises(BundleError, match="runs on the CPU only"):
        OnnxSession(SESSION, "cuda")


def test_auto_is_the_cpu_where_there_is_nothing_else(cpu_build):
    assert OnnxSession(SESSION, "auto").device == "cpu"


def test_cuda_is_what_it_says_when_it_opens(opened):
    opened.nodes = [part(CUDA, "GRU", "MatMul"), part(CPU, "Gather", "Concat")]
    assert OnnxSession(SESSION, "cuda").device == "cuda:0"
    assert OnnxSession(SESSION, "auto").device == "cuda:0"


def test_cuda_is_refused_when_the_session_fell_back_to_the_cpu(opened):
    opened.providers = [CPU]
    with pytest.raises(BundleError, match="driver or CUDA libraries"):
        OnnxSession(SESSION, "cuda")


def test_cuda_is_refused_when_the_work_would_be_done_on_the_cpu(opened):
    opened.nodes = [part(CUDA, "MatMul"), part(CPU, "GRU", "Gather")]
    with pytest.raises(BundleError, match="GRU would run on the CPU"):
        OnnxSession(SESSION, "cuda")


def test_auto_falls_back_to_the_cpu_and_says_why(opened, caplog):
    opened.providers = [CPU]
    assert OnnxSession(SESSION, "auto").device == "cpu"
    assert opened.asked == [CUDA, CPU]
    assert "device auto chose cpu" in caplog.text


def test_a_real_graph_assignment_is_understood():
    options = ort.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    session = ort.InferenceSession(SESSION, options, providers=[CPU])
    assignment = session.get_provider_graph_assignment_info()
    assert "Pow" in {node.op_type for one in assignment for node in one.get_nodes()}
    assert heavy_nodes_on_cpu(assignment) == []
