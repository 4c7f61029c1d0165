"""One small network of every family, exported once through the command line; its files serve every test."""

import warnings
from pathlib import Path

import pytest

from export.verification import open_bundle
from export.wrappers import GRAPHS
from models.checkpoint import save_checkpoint
from models.families import FAMILIES
from tests.export.small import NAME, engram_export, small_checkpoint


def pytest_collection_modifyitems(items):
    # torch announces the end of TorchScript at every use of it.
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"))


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
