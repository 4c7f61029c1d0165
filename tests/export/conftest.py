"""One small network of every family, exported once through the command line; its files serve every test."""

import tomllib
import warnings
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from export.__main__ import app
from export.verification import open_bundle
from export.wrappers import GRAPHS
from models.checkpoint import Checkpoint, save_checkpoint
from models.data.sample import sample_stories
from models.families import FAMILIES
from models.question_answering import build_vocabulary

PRESETS = Path(__file__).parents[2] / "models" / "presets"
LIMITS = {"max_facts": 19, "max_words": 11, "max_question_words": 7}
NAME = "small"


def pytest_collection_modifyitems(items):
    # torch announces the end of TorchScript at every use of it.
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"))


def small_checkpoint(family):
    """Make an untrained network of the family's ``tiny`` preset, in the words of the sample stories."""
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
        weights=record.network(config).state_dict(),
        words=list(words.words),
        answers=answers,
        limits=LIMITS,
        training={
            "command": "python -m models train",
            "data": [
                {"name": "Engram sample stories", "licence": "Apache-2.0", "source": "models.data.sample"}
            ],
            "notes": ["It was not trained."],
        },
        metrics={"validation": {"error": 50.0}},
    )


def engram_export(*words):
    """Run ``python -m export`` in this process."""
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="session", params=list(FAMILIES))
def checkpoint(request):
    return small_checkpoint(request.param)


@pytest.fixture(scope="session")
def graph(checkpoint):
    return GRAPHS[checkpoint.family](checkpoint)


@pytest.fixture(scope="session")
def exported(checkpoint, tmp_path_factory):
    """Export the checkpoint, and return the result of the command and the bundle's folder."""
    folder = tmp_path_factory.mktemp("export")
    save_checkpoint(checkpoint, folder / "run_small" / "best.pt")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".torch.jit", DeprecationWarning)
        result = engram_export(
            "bundle",
            folder / "run_small",
            *("--name", NAME, "--repository", folder / "models", "--default", "--language", "en"),
        )
    assert result.exit_code == 0, result.output
    return result, folder / "models" / NAME


@pytest.fixture(scope="session")
def bundle(exported):
    """The bundle; tests that change files copy its folder."""
    return open_bundle(exported[1])


@pytest.fixture(scope="session")
def forms(bundle):
    """The exported files by role."""
    return {role: bundle.read(bundle.file(role)) for role in ("model", "torchscript")}
