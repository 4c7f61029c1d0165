"""The machine of a measurement: its cores, its memory, its versions."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("onnxruntime", "numpy", "uvicorn", "uvloop", "httptools", "starlette", "msgspec", "orjson")


def cores() -> list[int]:
    """List the cores this process may use."""
    return sorted(os.sched_getaffinity(0))


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Keep this thread on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def pss_mb(pids: Iterable[int]) -> float:
    """Return the proportional set size of processes together, in megabytes of 10^6 bytes.

    Shared pages count in equal parts for every process that maps them.
    """
    return sum(_kib("Pss:", pid) for pid in pids) * 1024 / 1e6


def rss_mb(pids: Iterable[int]) -> float:
    """Return the resident memory of processes together, in megabytes of 10^6 bytes.

    Other processes, which come and go, do not change it.
    """
    return sum(_kib("Rss:", pid) for pid in pids) * 1024 / 1e6


def _kib(field: str, pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:  # it has ended meanwhile
        return 0
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(field))


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the processor time processes have used together."""
    return sum(map(_cpu_ticks, pids)) / os.sysconf("SC_CLK_TCK")


def _cpu_ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:  # it has ended meanwhile
        return 0
    return int(fields[11]) + int(fields[12])  # utime and stime, proc(5)


def describe() -> dict[str, str]:
    """Return what a reader must know about the machine and the software to compare a number."""
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "load before": f"{os.getloadavg()[0]:.2f} processes on average over the last minute",
        "python": platform.python_version(),
        "packages": ", ".join(f"{name} {found}" for name in PACKAGES if (found := _version(name))),
        "commit": _commit(),
    }


def _processor() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
