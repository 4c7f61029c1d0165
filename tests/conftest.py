"""What holds for every test: marks follow from folders, and nothing of the caller's shell leaks in."""

import os
from importlib.util import find_spec
from pathlib import Path
from tempfile import gettempdir

HERE = Path(__file__).parent
TORCH_FOLDERS = (HERE / "models", HERE / "export")

collect_ignore = [] if find_spec("torch") else [str(folder) for folder in TORCH_FOLDERS]


def pytest_configure():
    for name in [name for name in os.environ if name.startswith("ENGRAM_") and name != "ENGRAM_DATA"]:
        del os.environ[name]
    # Tests run beside servers; those that need one of these ports pick one.
    os.environ["ENGRAM_GRPC_PORT"] = os.environ["ENGRAM_METRICS_PORT"] = "0"
    # None but the tests of batches has any, and none finds those of somebody who serves from this folder.
    os.environ["ENGRAM_BATCH_FILE"] = str(Path(gettempdir()) / f"engram-tests-{os.getpid()}.sqlite3")


def pytest_collection_modifyitems(config, items):
    for item in items:
        if any(item.path.is_relative_to(folder) for folder in TORCH_FOLDERS):
            item.add_marker("torch")
    if not find_spec("torch"):
        wanted = [item for item in items if not item.get_closest_marker("torch")]
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("torch")])
        items[:] = wanted
