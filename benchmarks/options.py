"""What every benchmark is asked on the command line, and the bundle it measures."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.machine import ROOT, cores
from server.contract.bundle import MANIFEST, Bundle, read_manifest, versions_of

RESULTS = ROOT / "benchmarks" / "results"


def parser(
    module: str, about: str | None, *, repeats: int | None = None, seconds: int | None = None
) -> argparse.ArgumentParser:
    """Return a parser with the options every benchmark has.

    Args:
        module: the name after ``python -m``.
        about: its documentation, which is also its help.
        repeats: default number of interleaved repeats, where there are any.
        seconds: default length of one measurement, where it can be chosen.
    """
    usable = cores()
    made = argparse.ArgumentParser(
        prog=f"python -m {module}", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = made.add_argument
    add("--model-repository", type=Path, default=ROOT / "model_repository", help="folder of the bundles")
    add("--model", help="name of the bundle; by default the default one of task qa")
    add("--server-core", type=int, default=usable[0], help=f"core of the server ({usable[0]})")
    add("--load-core", type=int, default=usable[-1], help=f"core of the load ({usable[-1]})")
    add("--results", type=Path, default=RESULTS, help="folder the result is written to")
    if repeats is not None:
        add("--repeats", type=int, default=repeats, help=f"interleaved repeats ({repeats})")
    if seconds is not None:
        add("--seconds", type=int, default=seconds, help=f"length of one measurement ({seconds})")
    return made


def open_bundle(arguments: argparse.Namespace) -> Bundle:
    """Open the newest version of the bundle that is measured.

    Raises:
        SystemExit: there is none.
    """
    for manifest_path in sorted(arguments.model_repository.glob(f"*/{MANIFEST}")):
        folder = manifest_path.parent
        manifest = read_manifest(folder)
        wanted = folder.name == arguments.model if arguments.model else manifest.default
        if wanted and manifest.task == "qa":
            return Bundle.open(folder, versions_of(folder)[-1])
    raise SystemExit("there is no such bundle of task qa in the model repository; python -m export makes one")
