import numpy as np
import pytest

from server.runtime.stepwise.rows import Block
from server.runtime.stepwise.steps import Step, Walk, groups, sources_of, stayed


def step(numbers=3, rows=1, block=None, start=0, parents=None):
    walk = Walk(None, None, {"numbers": numbers}, numbers, block or Block({}, rows), start, rows)
    places = np.arange(rows) if parents is None else np.array(parents)
    return Step(walk, {}, places, walk.sizes, numbers, parents is None)


def parted(steps):
    return [[each.cells for each in group] for group in groups(steps, lambda sizes: sizes["numbers"])]


def test_steps_of_near_size_run_together_the_smallest_first():
    assert parted([step(9), step(2), step(30)]) == [[2, 9, 30]]


@pytest.mark.parametrize("rows", [1, 8])
def test_a_step_runs_apart_when_its_size_would_cost_the_others_more_than_a_run(rows):
    steps = [step(5, rows), step(6, rows), step(400), step(390)]
    assert parted(steps) == [[5, 6], [390, 400]]


def test_nobody_steps_alone_for_nothing():
    assert parted([step(7)] * 20) == [[7] * 20]
    assert parted([]) == []


def test_rows_have_stayed_when_the_same_walks_are_all_of_a_block():
    block = Block({}, 5)
    first, second = step(block=block, rows=2), step(block=block, rows=3, start=2, parents=[1, 0, 0])
    assert stayed([first, second])
    assert not stayed([second, first])
    assert not stayed([first])
    assert not stayed([first, step(block=block, rows=3, start=2, parents=[0, 1])])
    assert not stayed([first, step(block=Block({}, 5), rows=3, start=2)])


def test_neighbours_in_a_block_are_one_source():
    block, other = Block({}, 5), Block({}, 1)
    steps = [step(block=block, rows=2, start=3), step(block=block, start=1), step(block=other)]
    (first, places), (second, own) = sources_of(steps)
    assert (first, second) == (block, other)
    assert (places.tolist(), own.tolist()) == ([3, 4, 1], [0])
