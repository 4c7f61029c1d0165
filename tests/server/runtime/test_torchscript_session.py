import io
import sys

import numpy as np
import pytest

from server.errors import BundleError, RunError
from server.runtime.golden import replay
from server.runtime.session import open_session
from server.runtime.torchscript_session import TorchScriptSession
from tests.server.fakes import ANSWERS, HOPS, SIGNATURE, arithmetic, probes

OUTPUTS = [spec.name for spec in SIGNATURE.outputs]


def test_without_torch_the_reason_is_clear(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BundleError, match="needs torch, which is not installed"):
        TorchScriptSession(b"", SIGNATURE)


def test_a_bundle_without_torchscript_is_refused(bundle):
    with pytest.raises(BundleError, match="no 'torchscript' file"):
        open_session(bundle, "torchscript")


@pytest.fixture(scope="module")
def module():
    """The arithmetic as the bytes of a traced module."""
    import torch

    class Arithmetic(torch.nn.Module):
        def forward(self, story_tokens, question_tokens):
            powers_K = torch.arange(1, HOPS + 1)
            raised_BKF = story_tokens.sum(-1).float()[:, None, :] ** powers_K[None, :, None]
            shifts_KA = torch.arange(HOPS)[:, None] + torch.arange(len(ANSWERS))
            ranks_BKA = (question_tokens.sum(-1)[:, None, None] + shifts_KA) % len(ANSWERS) + 1
            hops_BKA = ranks_BKA.float() / 15
            return hops_BKA[:, -1], hops_BKA, raised_BKF / raised_BKF.sum(-1, keepdim=True)

    example = torch.ones(2, 3, 5, dtype=torch.int64), torch.ones(2, 4, dtype=torch.int64)
    content = io.BytesIO()
    torch.jit.save(torch.jit.trace(Arithmetic(), example), content)
    return content.getvalue()


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
class TestWithTorch:
    def test_the_module_gives_what_the_arithmetic_gives(self, module):
        session = TorchScriptSession(module, SIGNATURE)
        assert (session.runtime, session.device) == ("torchscript", "cpu")
        story = np.arange(2 * 7 * 3).reshape(2, 7, 3) + 2
        inputs = {"story_tokens": story, "question_tokens": story[:, 0]}
        outputs = session.run(inputs, OUTPUTS)
        for name, values in arithmetic(**inputs).items():
            np.testing.assert_allclose(outputs[name], values, rtol=1e-5)
        assert set(session.run(inputs, ["attention"])) == {"attention"}

    def test_probes_pass(self, module):
        replay(TorchScriptSession(module, SIGNATURE, "auto"), SIGNATURE, probes())

    def test_a_failing_module_says_nothing_of_its_inside(self, module):
        session = TorchScriptSession(module, SIGNATURE)
        with pytest.raises(RunError) as caught:
            session.run({"story_tokens": np.ones((1, 1), np.int64), "question_tokens": np.ones(1)}, OUTPUTS)
        assert caught.value.message == "the graph failed on this input"
        session.close()

    def test_a_file_that_is_no_module_is_refused(self):
        with pytest.raises(BundleError, match="cannot load the module"):
            TorchScriptSession(b"not a module", SIGNATURE)

    def test_cuda_is_refused_where_there_is_none(self, module, monkeypatch):
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        with pytest.raises(BundleError, match="torch finds none"):
            TorchScriptSession(module, SIGNATURE, "cuda")
