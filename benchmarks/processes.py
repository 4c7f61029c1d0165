"""Server processes: started on one core, watched with everything they start, ended without a rest."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from benchmarks.machine import ROOT

MARK = "BENCHMARKED_SERVER"
"""Environment variable that every process of a server inherits, however it is started."""

PATIENCE_S = 90.0
"""How long a server may take until it answers."""


class NotStarted(Exception):
    """The server ended or did not answer in time; the message holds the end of its log."""


@dataclass(frozen=True)
class Server:
    """A running server: its port, its first process and the mark of all of them."""

    port: int
    process: subprocess.Popen[bytes]
    mark: str
    log: Path
    patience_s: float

    def pids(self) -> list[int]:
        """List the processes of the server that live now."""
        needle = f"{MARK}={self.mark}".encode()
        return [
            int(path.parent.name) for path in Path("/proc").glob("[0-9]*/environ") if _holds(path, needle)
        ]

    def pause(self) -> None:
        """Stop every process where it is, so that it leaves the core to another server."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let every process go on."""
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        """Ask the first process to end, wait a little, and kill whatever is left."""
        self.resume()
        if self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        self._signal(signal.SIGKILL)
        self.process.wait()
        deadline = time.monotonic() + 10
        while self.pids() and time.monotonic() < deadline:  # a killed process takes a moment to be gone
            time.sleep(0.01)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def post(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        """Post a body of JSON on a connection of its own; return status and body of the answer."""
        return self.request("POST", path, body, {"Content-Type": "application/json", **(headers or {})})

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Send one request on a connection of its own; return status and body of the answer."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def wait(self, answers: Callable[[], bool], interval_s: float = 0.05) -> None:
        """Wait until the server answers.

        Raises:
            NotStarted: it ended, or did not answer in time.
        """
        deadline = time.monotonic() + self.patience_s
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if answers():
                    return
            except (OSError, HTTPException):
                pass
            time.sleep(interval_s)
        raise NotStarted(f"the server did not answer; its log ends:\n{self.log.read_text()[-2000:]}")


@contextmanager
def running(
    command: Sequence[str],
    port: int,
    core: int | None,
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path = ROOT,
    patience_s: float = PATIENCE_S,
) -> Iterator[Server]:
    """Run a server on one core, or with ``None`` on all, and end it with all its processes."""
    pin = [] if core is None else ["taskset", "-c", str(core)]
    # So that being told to stop ends the server too.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    mark = uuid.uuid4().hex
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ENGRAM_")}
    variables = {**inherited, "OMP_NUM_THREADS": "1", MARK: mark, **(environment or {})}
    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        process = subprocess.Popen(
            [*pin, *command],
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        server = Server(port, process, mark, Path(log.name), patience_s)
        try:
            yield server
        finally:
            server.end()
            signal.signal(signal.SIGTERM, before)


def free_port(count: int = 1) -> int:
    """Return the first of ``count`` consecutive ports that nobody listens on."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            first: int = listener.getsockname()[1]
        if all(map(_is_free, range(first, first + count))):
            return first


def _is_free(port: int) -> bool:
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except (OSError, OverflowError):
        return False


def _holds(path: Path, needle: bytes) -> bool:
    try:
        return needle in path.read_bytes().split(b"\0")
    except OSError:  # it has ended, or is not ours
        return False
