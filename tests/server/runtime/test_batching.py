from dataclasses import dataclass
from math import prod
from random import Random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.runtime.batching import FREE_PADDING, LOOK_AHEAD, MAX_WASTE, ServiceRate, choose
from server.runtime.options import RuntimeOptions


@dataclass(frozen=True)
class Waiting:
    name: int
    shape: tuple[int, int]

    @property
    def cells(self):
        return prod(self.shape)


def waiting(*shapes):
    return [Waiting(name, shape) for name, shape in enumerate(shapes)]


def padded(batch):
    return len(batch) * prod(max(sizes) for sizes in zip(*(one.shape for one in batch), strict=True))


shapes = st.tuples(st.integers(1, 250), st.integers(1, 12))
queues = st.lists(shapes, min_size=1, max_size=40).map(lambda found: waiting(*found))


@given(queues, st.integers(1, 16), st.integers(1, 5000))
def test_a_batch_keeps_within_size_cost_and_waste(queue, max_size, max_cost):
    batch = choose(queue, max_size, max_cost)
    assert len(batch) <= max_size
    assert set(batch) <= set(queue)
    assert len(set(batch)) == len(batch)
    if len(batch) > 1:
        assert padded(batch) <= max_cost
        assert padded(batch) <= MAX_WASTE * sum(prod(one.shape) for one in batch) + FREE_PADDING


@given(queues, st.integers(1, 16))
def test_the_oldest_always_runs_so_nothing_starves(queue, max_size):
    place = {one: number for number, one in enumerate(queue)}
    runs = 0
    while queue:
        batch = choose(queue, max_size, 4000)
        assert batch[0] is queue[0]
        assert all(place[one] >= runs for one in batch)
        queue = [one for one in queue if one not in batch]
        runs += 1


def test_stories_of_different_lengths_share_a_batch():
    queue = waiting((3, 6), (8, 5), (5, 6), (4, 6), (7, 6), (6, 4))
    assert len(choose(queue, 32, 8192)) == 6


def test_a_short_story_is_not_padded_to_a_long_one():
    queue = waiting((5, 6), (250, 6), (6, 6), (4, 6))
    assert [one.name for one in choose(queue, 32, 8192)] == [0, 2, 3]
    assert [one.name for one in choose(queue[1:], 32, 8192)] == [1]


def test_the_nearest_in_size_are_taken_first():
    queue = waiting((20, 6), (40, 6), (21, 6), (60, 6), (19, 6))
    assert [one.name for one in choose(queue, 3, 8192)] == [0, 2, 4]


def test_nearness_is_that_of_shapes_and_not_of_sizes():
    queue = waiting((20, 6), (12, 10), (22, 6), (10, 12))
    assert [one.name for one in choose(queue, 2, 8192)] == [0, 2]


def test_equal_ones_are_taken_in_order_of_arrival():
    assert [one.name for one in choose(waiting(*[(4, 6)] * 9), 4, 8192)] == [0, 1, 2, 3]


def test_one_request_may_cost_more_than_a_batch():
    assert len(choose(waiting((250, 12), (250, 12)), 32, 100)) == 1


def test_only_so_many_are_looked_at():
    assert len(choose(waiting(*[(1, 1)] * (LOOK_AHEAD + 9)), 10_000, 10_000)) == LOOK_AHEAD


def test_the_rate_follows_what_is_observed():
    rate = ServiceRate()
    assert rate.seconds_for(500) == 1.0
    for _ in range(50):
        rate.observe(1000, 0.5)
    assert abs(rate.seconds_for(4000) - 2.0) < 1e-9
    for _ in range(50):
        rate.observe(1000, 5.0)
    assert abs(rate.seconds_for(4000) - 20.0) < 0.2


@pytest.mark.parametrize("seed", range(3))
def test_sixty_four_who_always_ask_fill_batches_of_mixed_lengths(seed):
    """Stories of 5 to 70 facts, each asked anew while the batch after its own runs."""
    random, options = Random(seed), RuntimeOptions()

    def story():
        return Waiting(random.random(), (random.randint(5, 70), random.randint(6, 7)))

    queue, running, fills, cells, real = [story() for _ in range(64)], [], [], 0, 0
    for _ in range(400):
        batch = choose(queue, options.max_batch_size, options.max_batch_cost)
        queue = [one for one in queue if one not in batch] + [story() for _ in running]
        running = batch
        fills.append(padded(batch) / options.max_batch_cost)
        cells, real = cells + padded(batch), real + sum(one.cells for one in batch)
    assert fmean(fills) >= 0.8
    assert cells / real - 1 <= 0.2
