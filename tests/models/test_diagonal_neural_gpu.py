import numpy as np
import pytest
import torch

from models.clipped_adamax import ClippedAdamax
from models.computing import ComputingOptions, ComputingRecipe, Problems
from models.diagonal_neural_gpu import DiagonalNeuralGPU, DiagonalNeuralGPUConfig, diagonally_shifted

SYMBOLS, MAPS = 5, 7


@pytest.fixture
def network():
    net = DiagonalNeuralGPU(DiagonalNeuralGPUConfig(SYMBOLS, MAPS))
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    return net.eval()


def cells(*symbols, width):
    return torch.tensor([[*symbols, *[0] * (width - len(symbols))]])


def test_a_third_of_the_maps_moves_each_way():
    state_BCM = torch.arange(1.0, 22.0).reshape(1, 3, MAPS)
    moved_BCM = diagonally_shifted(state_BCM)
    assert torch.equal(moved_BCM[0, :, :3], state_BCM[0, :, :3])
    assert torch.equal(moved_BCM[0, 1:, 3:5], state_BCM[0, :-1, 3:5])
    assert torch.equal(moved_BCM[0, :-1, 5:], state_BCM[0, 1:, 5:])
    assert moved_BCM[0, 0, 3:5].abs().sum() == moved_BCM[0, -1, 5:].abs().sum() == 0


def test_a_request_is_computed_alike_alone_and_padded_beside_a_longer_one(network):
    short, long = cells(1, 3, 2, width=11), torch.randint(1, SYMBOLS, (1, 11))
    with torch.no_grad():
        alone, together = network(short[:, :3]), network(torch.cat([long, short]))
    assert torch.allclose(together.logits_BCV[1, :3], alone.logits_BCV[0], atol=1e-6)
    assert torch.allclose(together.activity_BSC[1, :3, :3], alone.activity_BSC[0], atol=1e-6)


def test_padding_is_never_rewritten_and_a_finished_memory_rests(network):
    with torch.no_grad():
        activity_SC = network(cells(1, 3, 2, width=5)).activity_BSC[0]
    assert activity_SC[3:].abs().sum() == 0
    assert activity_SC[:, 3:].abs().sum() == 0
    assert ((activity_SC[:3, :3] >= 0) & (activity_SC[:3, :3] <= 1)).all()
    assert activity_SC[:3, :3].sum() > 0


def test_training_without_dropout_computes_what_evaluation_does():
    net = DiagonalNeuralGPU(DiagonalNeuralGPUConfig(SYMBOLS, MAPS, dropout=0.0))
    symbols_BC = torch.randint(1, SYMBOLS, (2, 6))
    assert torch.allclose(net.train()(symbols_BC).logits_BCV, net.eval()(symbols_BC).logits_BCV, atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"maps": 2}, "maps must be at least 3"), ({"dropout": 1.0}, "dropout must be from 0")],
    ids=["maps", "dropout"],
)
def test_sizes_that_no_network_has_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        DiagonalNeuralGPUConfig(SYMBOLS, **fields)


def recipe(operation="add", **options):
    learning = ComputingOptions(
        **{"cells": (3, 5), "each": 4, "batches_an_epoch": 2, "longer": (7,)} | options
    )
    return ComputingRecipe("diagonal_neural_gpu", Problems(operation), learning, {"maps": MAPS})


def test_gradients_reach_every_parameter_and_saturation_costs():
    made = recipe()
    net = made.network()
    _, batches = made.batches(0, 1, np.random.default_rng(1))
    loss, count = made.loss(net.train(), next(iter(batches)))
    loss.backward()
    assert count == 8
    assert all(weight.grad.abs().sum() > 0 for weight in net.parameters())
    with torch.no_grad():
        net.step.gates.bias.fill_(9.0)
    assert net(torch.ones(1, 3, dtype=torch.long)).saturation > 5


def test_small_sums_can_be_learnt():
    made = recipe(each=8, batches_an_epoch=120, valid_each=16)
    made.shape = {"maps": 24}
    made.__post_init__()
    net = made.network()
    optimiser = ClippedAdamax(net.parameters(), lr=1e-2)
    for batch in made.batches(0, 1, np.random.default_rng(1))[1]:
        loss, _ = made.loss(net.train(), batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert made.evaluate(net).groups["4 digits"] <= 60


def test_the_first_epochs_leave_out_the_longest():
    made = recipe("multiply", cells=(3, 5, 9), first_epochs=2, first_cells=5)
    for epoch, longest in ((0, 5), (1, 5), (2, 9)):
        count, batches = made.batches(epoch, 3, np.random.default_rng(1))
        sizes = [{part.symbols_BC.shape[1] for part in batch} for batch in batches]
        assert count == 2 * len(sizes[0]) * 4
        assert {max(some) for some in sizes} <= {longest, longest - 2}


def test_longer_problems_are_judged_by_wrong_cells():
    made = recipe("multiply", valid_each=4)
    net = made.network()
    with torch.no_grad():
        net.output.weight.zero_()
        net.output.bias.copy_(9.0 * torch.eye(5)[0])  # says nothing, everywhere
    assert made.evaluate(net).groups == {"2 digits": 100.0, "3 digits": 100.0}
    assert 0.75 < made.evaluate(net).loss < 0.85  # of 5 cells 4 are wrong, of 7 cells 6


@pytest.mark.parametrize(
    ("options", "device", "message"),
    [
        ({"cells": (5, 3)}, "cpu", "must ascend"),
        ({"first_epochs": 1, "first_cells": 4}, "cpu", "at least 5"),
        ({"structured": 1.5}, "cpu", "from 0 to 1"),
        ({"fast": True}, "cpu", "multiple of 48, got 7"),
        ({"fast": True}, "cuda", "for CPUs, training.device is cuda"),
    ],
    ids=["order", "first", "share", "maps", "device"],
)
def test_options_that_cannot_be_learnt_with_are_refused(options, device, message):
    with pytest.raises(ValueError, match=message):
        ComputingRecipe(
            "diagonal_neural_gpu", Problems(), ComputingOptions(**options), {"maps": MAPS}, device
        )


def test_a_checkpoint_says_what_its_bundle_is_for():
    made = recipe("multiply")
    checkpoint = made.checkpoint(made.network(), {}, {})
    assert checkpoint.selector == {"operation": "multiply", "base": 2}
    assert checkpoint.limits == {"max_cells": 4096}
