"""Small untrained networks to export, one of each family, and the command that exports them."""

import tomllib
from dataclasses import asdict
from pathlib import Path

import torch
from typer.testing import CliRunner

from export.__main__ import app
from models.checkpoint import Checkpoint
from models.data.sample import sample_stories
from models.families import FAMILIES
from models.question_answering import build_vocabulary

PRESETS = Path(__file__).parents[2] / "models" / "presets"
LIMITS = {"max_facts": 19, "max_words": 11, "max_question_words": 7}
NAME = "small"


def small_dmn_plus():
    """Make an untrained network of the ``tiny`` preset, in the words of the sample stories.

    Its weights are numbers that float16 holds, so rounding it changes nothing.
    """
    family = "dmn_plus"
    examples = sample_stories(60, seed=1)
    words = build_vocabulary(examples)
    answers = sorted({example.answer for example in examples})
    shape = tomllib.loads((PRESETS / f"{family}.toml").read_text())["tiny"]["network"]
    record = FAMILIES[family]
    config = record.config(vocabulary=len(words), answers=len(answers), **shape)
    torch.manual_seed(1)
    return Checkpoint(
        family=family,
        config=asdict(config),
        weights={name: weight.half().float() for name, weight in record.network(config).state_dict().items()},
        words=list(words.words),
        answers=answers,
        limits=LIMITS,
        training={
            "command": "python -m models train",
            "selection": {"source": "sample"},
            "options": {"seed": 1},
            "data": [
                {"name": "Engram sample stories", "licence": "Apache-2.0", "source": "models.data.sample"}
            ],
            "notes": ["It was not trained."],
        },
        metrics={"validation": {"error": 50.0}},
    )


def small_pointer_network():
    """Make an untrained network that answers with hulls."""
    family = "pointer_network"
    shape = tomllib.loads((PRESETS / f"{family}.toml").read_text())["tiny"]["network"]
    record = FAMILIES[family]
    config = record.config(**shape | {"hidden": 6, "attention": 5, "glimpse_heads": 3})
    torch.manual_seed(1)
    return Checkpoint(
        family=family,
        config=asdict(config),
        weights=record.network(config).state_dict(),
        words=[],
        answers=[],
        limits={"max_points": 11},
        selector={"task": config.task},
        training={"command": "python -m models train"},
    )


SMALL = {
    "dmn_plus": small_dmn_plus,
    "pointer_network": small_pointer_network,
}
"""How a small checkpoint of each family is made."""


def quiet(step, done, total):
    """Take the progress and tell nobody."""


def engram_export(*words):
    """Run ``python -m export`` in this process."""
    return CliRunner().invoke(app, [str(word) for word in words])
