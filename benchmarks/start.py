"""From the command to the first answer: the server alone, and, if asked, ``make serve`` on a fresh clone.

The server's start includes every checksum and the replay of the golden probes. From the second repeat on,
files are in the page cache. A fresh clone starts without any environment and so includes the downloads. Takes
seconds for each repeat, and a minute or two for the clone.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.machine import ROOT
from benchmarks.options import open_bundle, parser
from benchmarks.processes import free_port, running
from benchmarks.report import Table, about_bundle, spread, write
from benchmarks.serving import engram_command, wait_for_answer
from server.contract.bundle import Bundle

MODULE = "benchmarks.start"
POLL_S = 0.005


def start_seconds(arguments: argparse.Namespace, bundle: Bundle) -> float:
    """Return the seconds from the start of the process to its first answer."""
    port = free_port(2)
    began = time.perf_counter()
    with running(engram_command(arguments, bundle, port), port, arguments.server_core) as server:
        wait_for_answer(server, POLL_S)
        return time.perf_counter() - began


def fresh_clone() -> dict[str, float | bool]:
    """Clone the last commit, type ``make serve``, and return what happened until the first answer."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "engram"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        began = time.perf_counter()
        with running(
            ["make", "serve"],
            port,
            None,
            environment={"ENGRAM_PORT": str(port)},
            folder=clone,
            patience_s=600,
        ) as server:
            wait_for_answer(server)
            seconds = time.perf_counter() - began
        site = next((clone / ".venv" / "serve" / "lib").glob("python*/site-packages"))
        size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
        return {"seconds": seconds, "torch": (site / "torch").exists(), "environment_mb": size / 1e6}


def main() -> None:
    """Measure and write the result."""
    options = parser(MODULE, __doc__, repeats=5)
    options.add_argument("--fresh-clone", action="store_true", help="also time make serve on a fresh clone")
    arguments = options.parse_args()
    bundle = open_bundle(arguments)
    seconds = [start_seconds(arguments, bundle) for _ in range(arguments.repeats)]
    rows = [["python -m server", spread(seconds), ""]]
    clone = fresh_clone() if arguments.fresh_clone else None
    if clone:
        torch = "torch is installed" if clone["torch"] else "no torch"
        rows.append(["make serve", f"{clone['seconds']:.1f}", f"{torch}, {clone['environment_mb']:.0f} MB"])
    table = Table("To the first answer", ("command", "seconds", "environment"), rows)
    write(MODULE, about_bundle(bundle), [table], {"seconds": seconds, "clone": clone}, arguments.results)


if __name__ == "__main__":
    main()
