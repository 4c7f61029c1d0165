"""Closed-loop load by wrk: a fixed number of connections, each sending its next request on an answer."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("closed_loop.lua")
MISSING = "wrk is not installed: it makes the load (apt-get install wrk, brew install wrk)"


@dataclass(frozen=True)
class Load:
    """What a server did under load: throughput per second, latencies, and answers that were none."""

    throughput: float
    p50_ms: float
    p99_ms: float
    failures: int


@contextmanager
def saved(posts: Sequence[bytes]) -> Iterator[Path]:
    """Lay raw requests down in a file as ``closed_loop`` takes it."""
    with tempfile.NamedTemporaryFile(suffix=".requests") as file:
        for post in posts:
            file.write(b"%010d" % len(post) + post)
        file.flush()
        yield Path(file.name)


def closed_loop(posts: Path, port: int, connections: int, seconds: int, core: int) -> Load:
    """Send requests to a local port for a while.

    Args:
        posts: the file of raw requests, as ``saved`` writes it.
        port: of the server.
        connections: requests in flight.
        seconds: how long.
        core: the core that makes the load.

    Raises:
        SystemExit: wrk is missing or failed.
    """
    if not shutil.which("wrk") or not shutil.which("taskset"):
        raise SystemExit(MISSING)
    command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    command += ["--timeout", "30s", "-s", str(SCRIPT), f"http://127.0.0.1:{port}/", "--", str(posts)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"wrk failed: {done.stdout}{done.stderr}")
    told = json.loads(done.stdout.strip().splitlines()[-1])
    failures = told["refused"] + told["broken"]
    answered = told["requests"] - told["refused"]
    return Load(answered / told["seconds"], told["p50_ms"], told["p99_ms"], failures)
