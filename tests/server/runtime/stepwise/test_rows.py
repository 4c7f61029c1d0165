import numpy as np
import pytest

from server.runtime.stepwise.rows import gather, join_rows
from tests.server.counting import spec

FACTORS = spec("factors", "INT64", "numbers", 2, pad=9)


def block(rows, numbers, start=0):
    return np.arange(start, start + rows * numbers * 2).reshape(rows, numbers, 2)


def test_rows_of_one_block_are_taken_in_order():
    taken = gather(FACTORS, [(block(5, 3), np.array([4, 0, 0]))], {"numbers": 3})
    np.testing.assert_array_equal(taken, block(5, 3)[[4, 0, 0]])


def test_what_is_longer_than_the_longest_that_is_left_is_cropped():
    taken = gather(FACTORS, [(block(5, 3), np.array([1]))], {"numbers": 2})
    np.testing.assert_array_equal(taken, block(5, 3)[[1], :2])


def test_rows_of_blocks_of_different_lengths_are_padded_as_the_signature_says():
    short, long = block(2, 1), block(3, 4, start=50)
    taken = gather(FACTORS, [(short, np.array([1])), (long, np.array([2, 0]))], {"numbers": 3})
    np.testing.assert_array_equal(taken[0], [*short[1], [9, 9], [9, 9]])
    np.testing.assert_array_equal(taken[1:], long[[2, 0], :3])
    assert taken.dtype == np.int64


@pytest.mark.parametrize("sizes", [(3, 3), (1, 4)], ids=["alike", "different"])
def test_whole_arrays_are_joined_and_padded(sizes):
    first, second = block(2, sizes[0]), block(1, sizes[1], start=70)
    longest = max(sizes)
    joined = join_rows(FACTORS, [first, second], {"numbers": longest})
    np.testing.assert_array_equal(joined[:2, : sizes[0]], first)
    np.testing.assert_array_equal(joined[2, : sizes[1]], second[0])
    assert (joined[:2, sizes[0] :] == 9).all()


def test_arrays_are_given_the_type_that_the_graph_takes():
    joined = join_rows(spec("scores", "FP32"), [np.array([1, 2]), np.array([3])], {})
    assert joined.dtype == np.float32
