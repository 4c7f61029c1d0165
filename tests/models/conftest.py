"""One thread and a fixed seed for every test of the networks."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _repeatable():
    torch.set_num_threads(1)
    torch.manual_seed(7)
