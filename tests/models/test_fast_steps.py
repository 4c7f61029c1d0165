from pathlib import Path

import pytest
import torch

from models.diagonal_neural_gpu import DiagonalCGRU, DiagonalNeuralGPUConfig
from models.fast_steps import NoFastSteps, check_maps, fast_steps, library

MAPS, BATCH, CELLS = 48, 3, 5


@pytest.fixture(scope="module")
def compiled():
    """Whether this machine can compile and run them; where it cannot, it has to say what it lacks."""
    try:
        library()
    except NoFastSteps as problem:
        lacks = str(problem)
    else:
        lacks = ""
    assert not lacks or "learning.fast=false" in lacks
    return not lacks


def gradients(cell, state_BCM, fast):
    cell.fast = fast
    cell.zero_grad()
    state_BCM = state_BCM.clone().requires_grad_()
    last_BCM, excess = cell.train_steps(state_BCM, DiagonalNeuralGPUConfig(5, MAPS, dropout=0.0))
    wanted_BCM = torch.linspace(-1, 1, last_BCM.numel()).reshape(last_BCM.shape)
    ((last_BCM - wanted_BCM).square().sum() + 1e-2 * excess).backward()
    return [last_BCM.detach(), excess.detach(), state_BCM.grad, *(one.grad for one in cell.parameters())]


def test_they_compute_what_torch_does_and_so_do_their_gradients(compiled):
    torch.manual_seed(3)
    cell = DiagonalCGRU(MAPS)
    state_BCM = torch.rand(BATCH, CELLS, MAPS) * 2 - 1
    slow = gradients(cell, state_BCM, fast=False)
    quick = gradients(cell, state_BCM, fast=compiled)
    assert slow[1] > 0
    for one, other in zip(slow, quick, strict=True):
        assert torch.cosine_similarity(one.flatten(), other.flatten(), dim=0) > 0.99


def test_a_share_of_the_candidates_is_dropped(compiled):
    state_BCM = torch.zeros(BATCH, CELLS, MAPS)
    open_gates = [torch.zeros(2 * MAPS, 3 * MAPS), torch.full((2 * MAPS,), -1.0)]
    candidates = [torch.zeros(MAPS, 3 * MAPS), torch.full((MAPS,), 0.5)]
    if compiled:
        last_BCM, _ = fast_steps(state_BCM, [*open_gates, *candidates], 0.9, 0.25)
        assert last_BCM.unique().tolist() == [0.0, pytest.approx(0.5 / 0.75)]
        assert 0.15 < float((last_BCM == 0).float().mean()) < 0.35


def test_other_numbers_of_maps_are_refused():
    with pytest.raises(NoFastSteps, match="a multiple of 48, got 50"):
        check_maps(50)


def test_a_machine_without_a_compiler_is_told_what_to_do(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(NoFastSteps, match=r"learning.fast=false"):
        library.__wrapped__()


def test_a_source_that_does_not_compile_is_reported(monkeypatch, tmp_path: Path, compiled):
    broken = tmp_path / "diagonal_steps.cpp"
    broken.write_text("int forward( {", encoding="utf-8")
    monkeypatch.setattr("models.fast_steps.SOURCE", broken)
    with pytest.raises(NoFastSteps, match=r"could not compile" if compiled else r"needs g\+\+"):
        library.__wrapped__()
