import torch

from models.clipped_adamax import ClippedAdamax


def moved(gradients, **options):
    weights = torch.zeros(3, requires_grad=True)
    optimiser = ClippedAdamax([weights], lr=0.1, noise=0.0, **options)
    for gradient in gradients:
        weights.grad = torch.full((3,), gradient)
        optimiser.step()
    return float(weights.detach()[0]), optimiser.state[weights]


def test_weights_go_against_the_gradient_whatever_its_size():
    small, large = (moved([size] * 20)[0] for size in (1e-5, 1e-3))
    assert small < -0.5
    assert large < 0


def test_a_wild_gradient_is_clipped_by_what_was_seen_before():
    _, state = moved([1e-4] * 5 + [1e6])
    assert float(state["largest"][0]) < 3e-4


def test_what_was_seen_is_forgotten_ever_more_slowly():
    fast = moved([1e-4, *[0.0] * 10], forgets=0.5, half_life=1e9)[1]["largest"][0]
    slow = moved([1e-4, *[0.0] * 10], forgets=0.5, half_life=1.0)[1]["largest"][0]
    assert 0 < float(fast) < float(slow) < 1e-4


def test_noise_moves_what_has_no_gradient():
    weights = torch.zeros(50, requires_grad=True)
    weights.grad = torch.zeros(50)
    ClippedAdamax([weights], lr=0.1).step()
    assert (weights != 0).all()
