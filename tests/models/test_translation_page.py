"""What ``docs/training.md`` says about translation is what the code has."""

from dataclasses import fields

import pytest

from models.attention_gru import AttentionGRUConfig
from models.data.parallel import ParallelText
from models.extended_neural_gpu import ExtendedNeuralGPUConfig
from models.translating import TranslationOptions
from tests.models.test_training_page import names_after

GIVEN = {"source_vocabulary", "target_vocabulary"}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("`network`, the shape of the GRU with attention", AttentionGRUConfig),
        ("`network`, the shape of the Extended Neural GPU", ExtendedNeuralGPUConfig),
        ("`learning`, how translation is learnt", TranslationOptions),
        ("`data`, which pairs", ParallelText),
    ],
    ids=["attention GRU", "Extended Neural GPU", "learning", "data"],
)
def test_every_option_has_its_row(text, kind):
    assert names_after(text) == {field.name for field in fields(kind)} - GIVEN
