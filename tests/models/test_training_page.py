"""What ``docs/training.md`` says about options and presets is what the code has."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from models.data.json_lines import Line
from models.data.sources import Selection
from models.families import FAMILIES
from models.presets import presets
from models.question_answering import QuestionAnsweringOptions
from models.training import TrainingOptions

PAGE = (Path(__file__).parents[2] / "docs" / "training.md").read_text()


def names_after(text):
    """The names in the first column of the table that follows a text."""
    table = PAGE.partition(text)[2].partition("|---|---|\n")[2].partition("\n\n")[0]
    return {name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])}


def field_names(kind):
    return {field.name for field in fields(kind)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("`data`, which stories", field_names(Selection)),
        ("`learning`, what is learnt from", field_names(QuestionAnsweringOptions)),
        ("`training`, how long and how fast", field_names(TrainingOptions)),
        (
            "`network`, the shape of DMN+",
            field_names(FAMILIES["dmn_plus"].config) - {"vocabulary", "answers", "max_words"},
        ),
        ("One JSON object a line", set(Line.__struct_fields__)),
        ("A preset is a set of options", set(presets("dmn_plus"))),
    ],
    ids=["data", "learning", "training", "network", "JSON lines", "presets"],
)
def test_every_option_has_its_row(text, expected):
    assert names_after(text) == expected
