"""One virtual environment for each peer, because their requirements disagree: ``.venv/peers/NAME``."""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import ROOT

ENVIRONMENTS = ROOT / ".venv" / "peers"


class NotInstalled(Exception):
    """A peer's packages could not be installed; the message says why."""


def environment(name: str, requirements: Sequence[str]) -> Path:
    """Return the folder of an environment with these packages on top; it is made when it is missing.

    Raises:
        NotInstalled: pip failed.
    """
    folder = ENVIRONMENTS / name
    stamp, wanted = folder / "requirements", "\n".join(requirements)
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return folder
    print(f"making {folder.relative_to(ROOT)}", flush=True)
    venv.create(folder, with_pip=True, clear=True)
    command = [
        str(folder / "bin" / "python"),
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "-qq",
        *requirements,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotInstalled(f"{name} cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    stamp.write_text(wanted, encoding="utf-8")
    return folder


def site_packages(folder: Path) -> Path:
    """Return where an environment keeps its packages."""
    return folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
