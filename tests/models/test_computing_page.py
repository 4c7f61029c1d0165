"""What ``docs/training.md`` says about computing is what the code has."""

from dataclasses import fields

import pytest

from models.computing import ComputingOptions, Problems
from models.diagonal_neural_gpu import DiagonalNeuralGPUConfig
from tests.models.test_training_page import names_after


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("`network`, the shape of the diagonal Neural GPU", DiagonalNeuralGPUConfig),
        ("`learning`, what computing is learnt from", ComputingOptions),
        ("`data`, what is computed", Problems),
    ],
    ids=["network", "learning", "data"],
)
def test_every_option_has_its_row(text, kind):
    assert names_after(text) == {field.name for field in fields(kind)} - {"symbols"}
