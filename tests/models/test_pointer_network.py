import pytest
import torch

from models.plane_geometry import PADDING, POINT, STOP, normalised, reading_keys, sights
from models.pointer_network import Memory, PointerNetworkConfig, State
from tests.models.pointing_builders import IDS, VARIANTS, elements, network

every_variant = pytest.mark.parametrize("options", VARIANTS, ids=IDS)


def targets_of(net, kinds):
    """Point at every point in turn, and then at the stop."""
    rows = []
    for row in kinds:
        places = (row == POINT).nonzero().squeeze(1).tolist() + ([0] if net.config.stops else [])
        rows.append(torch.tensor(places))
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)


@every_variant
def test_weights_of_a_step_sum_to_one_and_padding_gets_none(options):
    net = network(**options)
    points, kinds = elements(net.config, 7, 4, 1)
    targets = targets_of(net, kinds)
    attention = net(points, kinds, targets).softmax(dim=-1)
    torch.testing.assert_close(attention.sum(dim=-1), torch.ones(attention.shape[:2]))
    for weights, own_targets, own_kinds in zip(attention, targets, kinds, strict=True):
        assert (weights[own_targets >= 0][:, own_kinds == PADDING] == 0).all()


@every_variant
def test_an_instance_is_answered_alike_alone_and_in_a_padded_batch(options):
    net = network(**options)
    points, kinds = elements(net.config, 9, 3)
    together = net(points, kinds, targets_of(net, kinds))[1]
    width = 3 + net.config.stops
    alone_points, alone_kinds = points[1:, :width], kinds[1:, :width]
    alone = net(alone_points, alone_kinds, targets_of(net, alone_kinds))[0]
    torch.testing.assert_close(together[: len(alone), :width], alone, atol=1e-5, rtol=1e-5)


@every_variant
def test_steps_one_by_one_give_what_all_at_once_give(options):
    net = network(**options)
    points, kinds = elements(net.config, 5, 5)
    targets = targets_of(net, kinds)
    expected = net(points, kinds, targets)
    memory = net.encode(points, kinds)
    state, last = memory.first, torch.full((2,), -1)
    before = last
    for step in range(targets.shape[1]):
        allowed = net.allowed(kinds, targets)[:, step]
        logits, state = net.step(memory, last, before, state, allowed)
        torch.testing.assert_close(logits, expected[:, step], atol=1e-5, rtol=1e-5)
        last, before = targets[:, step], last


@every_variant
def test_gradients_reach_every_parameter(options):
    net = network(**options).train()
    points, kinds = elements(net.config, 6, 6)
    targets = targets_of(net, kinds)
    torch.nn.functional.cross_entropy(net(points, kinds, targets).flatten(0, 1), targets.flatten()).backward()
    without = [name for name, weight in net.named_parameters() if weight.grad is None]
    without = [name for name in without if name != "stop_H" or net.config.stops]
    assert without == []


@pytest.mark.parametrize("task", ["convex_hull", "tour"])
def test_what_was_visited_gets_no_weight_and_no_row_is_nan(task):
    net = network(task=task)
    points, kinds = elements(net.config, 4, 2)
    targets = targets_of(net, kinds)
    attention = net(points, kinds, targets).softmax(dim=-1)
    assert attention.isfinite().all()
    for step in range(1, targets.shape[1]):
        assert (attention[0, step, targets[0, :step]] == 0).all()


def test_a_triangulation_may_choose_a_point_again():
    net = network(task="delaunay")
    _, kinds = elements(net.config, 5)
    allowed = net.allowed(kinds, torch.tensor([[1, 2, 3, 1, 3, 4, 0]]))
    assert allowed.all()


def test_nothing_allowed_is_no_nan():
    net = network(task="tour", glimpse_heads=3, geometry=True)
    points, kinds = elements(net.config, 4)
    memory = net.encode(points, kinds)
    last = torch.tensor([2])
    logits, _ = net.step(memory, last, last, memory.first, torch.zeros(1, 4, dtype=torch.bool))
    assert logits.softmax(dim=-1).isfinite().all()


def test_scale_and_place_do_not_matter():
    cloud = torch.rand(1, 6, 2, generator=torch.Generator().manual_seed(1))
    kinds = torch.full((1, 6), POINT)
    torch.testing.assert_close(normalised(cloud, kinds), normalised(40 * cloud - 7, kinds), atol=1e-5, rtol=0)


def test_equal_points_are_normalised_without_a_division_by_zero():
    kinds = torch.tensor([[STOP, POINT, POINT, PADDING]])
    assert (normalised(torch.full((1, 4, 2), 3.0), kinds) == 0).all()


def test_reading_order_does_not_depend_on_the_order_of_the_input():
    net = network(task="tour", order="angle", geometry=True)
    points, kinds = elements(net.config, 8)
    shuffle = torch.randperm(8, generator=torch.Generator().manual_seed(2))
    memory, shuffled = net.encode(points, kinds), net.encode(points[:, shuffle], kinds)
    torch.testing.assert_close(memory.memory_BPH[:, shuffle], shuffled.memory_BPH, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(memory.first, shuffled.first, atol=1e-6, rtol=1e-5)


def test_angles_go_counter_clockwise_from_the_lowest_point():
    points = torch.tensor([[[0.5, 0.0], [0.0, 0.5], [-0.5, 0.0], [0.0, -0.5]]])
    keys = reading_keys(points, torch.full((1, 4), POINT), "angle")
    assert keys.argsort(dim=1).tolist() == [[3, 0, 1, 2]]


@pytest.mark.parametrize("order", ["given", "x", "angle"])
def test_what_is_no_point_is_read_last(order):
    kinds = torch.tensor([[STOP, POINT, POINT, PADDING, PADDING]])
    points = normalised(torch.rand(1, 5, 2, generator=torch.Generator().manual_seed(3)), kinds)
    keys = reading_keys(points, kinds, order)
    assert set(keys.argsort(dim=1)[0, :2].tolist()) == {1, 2}


def test_sights_are_plain_geometry():
    points = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]]])
    seen = sights(points, torch.tensor([[1]]), torch.tensor([[0]]))[0, 0, 2]
    # straight up, two away, a left turn of 90 degrees, and both seen under the angle atan(1 / 2)
    expected = torch.tensor([0.0, 1.0, 2.0, 0.0, 2 / 5**0.5, 1.0])
    torch.testing.assert_close(seen, expected, atol=1e-6, rtol=1e-6)


def test_sights_without_choices_are_zero():
    points = torch.rand(2, 3, 2)
    nothing = torch.full((2, 1), -1)
    assert (sights(points, nothing, nothing) == 0).all()


def test_stop_lies_where_reading_began():
    net = network(task="convex_hull", order="angle")
    points, kinds = elements(net.config, 5)
    memory = net.encode(points, kinds)
    lowest = points[0, 1:, 1].argmin() + 1
    torch.testing.assert_close(memory.places_BP2[0, 0], points[0, lowest])
    assert isinstance(memory, Memory)
    assert isinstance(memory.first, State)


@pytest.mark.parametrize(
    "wrong", [{"hidden": 5}, {"hidden": 0}, {"layers": 0}, {"attention": 0}, {"glimpse_heads": 5}]
)
def test_shapes_no_network_can_have_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PointerNetworkConfig("tour", **{"hidden": 6} | wrong)
