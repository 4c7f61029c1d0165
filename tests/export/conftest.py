"""One small network, exported once through the command line, and one that answers step by step, exported
once; their files serve every test. ``test_families`` exports one of every family.
"""

import warnings
from pathlib import Path

import pytest

from export.forms import export_forms
from export.graphs import graphs_of
from export.verification import open_bundle
from models.checkpoint import save_checkpoint
from tests.export.small import NAME, SMALL, engram_export, quiet
from tests.export.stepwise import stepwise_graphs


def pytest_collection_modifyitems(items):
    # torch announces the end of TorchScript at every use of it.
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"))


@pytest.fixture(scope="session")
def checkpoint():
    return SMALL["dmn_plus"]()


@pytest.fixture(scope="session")
def graphs(checkpoint):
    return graphs_of(checkpoint)


@pytest.fixture(scope="session")
def graph(graphs):
    return graphs.model


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


@pytest.fixture(scope="session")
def stepwise():
    """A network that answers step by step, and its exported files by role."""
    made = stepwise_graphs()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".torch.jit", DeprecationWarning)
        return made, export_forms(made, torchscript=True, half=False, progress=quiet)
