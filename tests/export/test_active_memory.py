import numpy as np
import pytest

from export.active_memory import Problems


@pytest.mark.parametrize(
    ("operation", "base", "cells", "filled"),
    [
        ("add", 2, 13, 13),
        ("multiply", 2, 13, 13),
        ("multiply", 10, 256, 255),
        ("sort", 10, 7, 7),
        ("add", 2, 1, 1),
    ],
)
def test_graphs_are_compared_on_problems_of_the_size_that_is_asked(operation, base, cells, filled):
    requests = Problems(operation, base)([{"cells": cells}, {"cells": 5}], np.random.default_rng(1))
    assert [len(one["symbols"]) for one in requests] == [filled, 5]
    assert all((one["symbols"] > 0).all() for one in requests)


def test_a_product_has_one_sign_between_its_numbers():
    [request] = Problems("multiply", 2)([{"cells": 21}], np.random.default_rng(1))
    assert [place for place, symbol in enumerate(request["symbols"]) if symbol == 3] == [10]
