"""Our own server as a benchmark runs it: one model, one core, ready to answer."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import urlopen

from benchmarks.processes import Server, free_port, running
from benchmarks.traces import TWENTY_FACTS, read_trace
from server.contract.bundle import Bundle
from server.settings import variable


def engram_command(arguments: argparse.Namespace, bundle: Bundle, port: int, *options: str) -> list[str]:
    """Return the command of our server, without a log line for each request, as peers run too.

    It takes the port after ``port`` too, for gRPC.
    """
    return [
        *(sys.executable, "-m", "server", "--port", str(port), "--log-level", "warning"),
        *("--model-repository", str(arguments.model_repository), "--models", bundle.manifest.name),
        *("--grpc-port", str(port + 1)),
        *options,
    ]


@contextmanager
def engram(arguments: argparse.Namespace, bundle: Bundle, *options: str) -> Iterator[Server]:
    """Run our server on its core; it has answered once."""
    port = free_port(2)
    with running(engram_command(arguments, bundle, port, *options), port, arguments.server_core) as server:
        wait_for_answer(server)
        yield server


@contextmanager
def observed_engram(arguments: argparse.Namespace, bundle: Bundle, **settings: object) -> Iterator[Server]:
    """Run our server with a session that counts what really runs; ``observed`` asks for the counts."""
    port = free_port(2)
    environment = {
        "ENGRAM_PORT": str(port),
        "ENGRAM_GRPC_PORT": str(port + 1),
        "ENGRAM_MODELS": bundle.manifest.name,
        "ENGRAM_MODEL_REPOSITORY": str(arguments.model_repository),
        **{variable(name): str(value) for name, value in settings.items()},
    }
    command = [sys.executable, "-m", "benchmarks.observed_server"]
    with running(command, port, arguments.server_core, environment=environment) as server:
        wait_for_answer(server)
        yield server


def observed(server: Server) -> dict[str, int]:
    """Return the batches, requests, padded and real cells that ran on an observed server so far."""
    with urlopen(f"http://127.0.0.1:{server.port}/observed") as response:
        counts: dict[str, int] = json.load(response)
        return counts


def wait_for_answer(server: Server, interval_s: float = 0.05) -> None:
    """Wait until the server has answered a question.

    Raises:
        NotStarted: it did not.
    """
    body = json.dumps(read_trace(TWENTY_FACTS)[0]).encode()
    server.wait(lambda: server.post("/v1/qa", body)[0] == 200, interval_s)
