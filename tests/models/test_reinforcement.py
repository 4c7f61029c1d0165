import pytest
import torch

from models.pointing import make_batch
from models.reinforcement import reinforce_loss, sampled_tours, tour_lengths
from tests.models.pointing_builders import instances, network, recipe


def tours(tmp_path, count=6):
    net = network(task="tour", order="angle", geometry=True, hidden=12)
    return net, make_batch(net.config, instances("tour", {7: count}, 1, tmp_path)[7])


def test_sampled_trips_visit_every_city_once(tmp_path):
    net, batch = tours(tmp_path)
    torch.manual_seed(1)
    drawn = sampled_tours(net, batch.points_BP2, batch.kinds_BP)
    assert (drawn.sort(dim=1).values == torch.arange(7)).all()


def test_lengths_are_those_of_closed_trips():
    square = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]])
    assert tour_lengths(square, torch.tensor([[0, 1, 2, 3]])).tolist() == [4.0]


def test_learning_from_lengths_makes_trips_shorter(tmp_path):
    net, batch = tours(tmp_path)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)

    def mean_length():
        torch.manual_seed(2)
        many = [part.repeat_interleave(20, dim=0) for part in batch[:2]]
        return float(tour_lengths(many[0], sampled_tours(net, *many)).mean())

    before = mean_length()
    torch.manual_seed(3)
    for _ in range(25):
        loss = reinforce_loss(net, batch.points_BP2, batch.kinds_BP, samples=6)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert mean_length() < 0.97 * before


def test_the_last_epochs_learn_from_lengths(tmp_path):
    own = recipe("tour", tmp_path, reinforce_share=0.5)
    seen = []
    for epoch in range(4):
        own.batches(epoch, 4, torch.Generator())
        seen.append(own.reinforcing)
    assert seen == [False, False, True, True]


def test_runs_that_learn_from_lengths_are_judged_by_them(tmp_path):
    own = recipe("tour", tmp_path, reinforce_share=0.5)
    assert 1 <= own.evaluate(own.network()).loss < 4


def test_only_round_trips_have_lengths_to_learn_from(tmp_path):
    with pytest.raises(ValueError, match="reinforce_share"):
        recipe("convex_hull", tmp_path, reinforce_share=0.5)
