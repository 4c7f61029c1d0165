"""The same work behind this server and its peers, each on one core, under the same closed loop.

All of them get sentences and return the whole answer with its attention; peers prepare, run and interpret by
this project's own functions. Each must give the right answers before it is measured. In each repeat all are
measured one after the other, in an order that rotates; a server that is busy even when nobody asks is stopped
by a signal while others are measured. The first run makes an environment for each peer (minutes, about 3 GB).
A run takes about a quarter of an hour.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.closed_loop import Load, closed_loop, saved
from benchmarks.in_process import InProcess
from benchmarks.machine import cpu_seconds
from benchmarks.options import open_bundle, parser
from benchmarks.peers.catalogue import PEERS, PORTS, PYTHONPATH, Peer
from benchmarks.peers.environments import NotInstalled, environment
from benchmarks.peers.forms import PLAIN, Form
from benchmarks.peers.tables import CELLS, OURS, Cell, Loads, tables
from benchmarks.processes import NotStarted, Server, free_port, running
from benchmarks.report import about_bundle, write
from benchmarks.serving import engram
from benchmarks.traces import MIXED, TWENTY_FACTS, http_post, read_trace
from server.contract.bundle import Bundle

MODULE = "benchmarks.peers"
TOLERANCE = 1e-4
PROOFS = 3
"""Requests of which the answers are compared with the right ones."""

RESTLESS = 0.1
"""A server that uses more of its core than this when nobody asks would slow the others down."""

SETTLE_SECONDS, IDLE_SECONDS = 1.0, 2.0


@dataclass(frozen=True)
class Target:
    """A running server, its requests by trace, and whether it is busy when nobody asks."""

    server: Server
    posts: Mapping[str, Path]
    is_restless: bool

    def load(self, cell: Cell, seconds: int, core: int) -> Load:
        """Load it for a while."""
        trace, connections = cell
        if self.is_restless:
            self.server.resume()
        load = closed_loop(self.posts[trace], self.server.port, connections, seconds, core)
        if self.is_restless:
            self.server.pause()
        return load


class Servers:
    """All servers at once; leaving the stack ends them."""

    def __init__(self, arguments: argparse.Namespace, bundle: Bundle, stack: ExitStack) -> None:
        self._arguments = arguments
        self._bundle = bundle
        self._stack = stack
        self._requests = {name: read_trace(name) for name in (TWENTY_FACTS, MIXED)}
        self._proofs = self._requests[TWENTY_FACTS][:PROOFS]
        self._truth = InProcess(bundle, self._proofs).answers()
        self.targets: dict[str, Target] = {}
        self.missing: dict[str, str] = {}

    def add_ours(self) -> None:
        """Start our own server."""
        server = self._stack.enter_context(engram(self._arguments, self._bundle))
        self._add(OURS, server, "/v1/qa", PLAIN)

    def add(self, peer: Peer) -> None:
        """Start a peer; one that does not install or start is left out, and the result says why."""
        try:
            server = self._stack.enter_context(peer_running(peer, self._bundle, self._arguments.server_core))
            body = peer.form.body(self._proofs[0])
            server.wait(lambda: server.post(peer.path, body)[0] == 200)
            self._add(peer.name, server, peer.path, peer.form)
        except (NotInstalled, NotStarted) as error:
            print(f"{peer.name} is left out: {error}", flush=True)
            self.missing[peer.name] = str(error).splitlines()[0]

    def _add(self, name: str, server: Server, path: str, form: Form) -> None:
        files = {
            trace: self._stack.enter_context(
                saved([http_post(path, form.body(request)) for request in requests])
            )
            for trace, requests in self._requests.items()
        }
        self._prove(server, path, form)
        for posts in files.values():
            closed_loop(posts, server.port, 16, 1, self._arguments.load_core)
        is_restless = idle_share(server) > RESTLESS
        if is_restless:
            server.pause()
        self.targets[name] = Target(server, files, is_restless)
        print(f"{name} is up{', and busy when idle' if is_restless else ''}", flush=True)

    def _prove(self, server: Server, path: str, form: Form) -> None:
        """Compare what a server answers with what is right.

        Raises:
            NotStarted: it answers something else.
        """
        for request, right in zip(self._proofs, self._truth, strict=True):
            found = form.answer(server.post(path, form.body(request))[1])
            weights = np.array(found["attention"]["weights"])
            if found["answer"] != right.answer or np.abs(weights - right.attention.weights).max() > TOLERANCE:
                raise NotStarted("it does not give the right answer")


@contextmanager
def peer_running(peer: Peer, bundle: Bundle, core: int) -> Iterator[Server]:
    """Run a peer on one core.

    Raises:
        NotInstalled: its environment cannot be made.
    """
    folder, port = environment(peer.environment, peer.requirements), free_port(PORTS)
    with TemporaryDirectory() as work:
        launch = peer.launch(folder, port, Path(work))
        variables = {"BENCHMARKED_BUNDLE": str(bundle.folder), "PYTHONPATH": PYTHONPATH, **launch.environment}
        with running(launch.command, port, core, environment=variables, folder=Path(work)) as server:
            yield server


def idle_share(server: Server) -> float:
    """Return how much of its core a server uses when nobody asks."""
    time.sleep(SETTLE_SECONDS)
    pids = server.pids()
    before = cpu_seconds(pids)
    time.sleep(IDLE_SECONDS)
    return (cpu_seconds(pids) - before) / IDLE_SECONDS


def measure(arguments: argparse.Namespace, bundle: Bundle) -> tuple[Loads, dict[str, str]]:
    """Return the loads of every server, and why some are missing."""
    with ExitStack() as stack:
        servers = Servers(arguments, bundle, stack)
        servers.add_ours()
        for peer in PEERS:
            if not arguments.only or peer.name in arguments.only:
                servers.add(peer)
        names = list(servers.targets)
        loads: Loads = {name: {cell: [] for cell in CELLS} for name in names}
        for repeat in range(arguments.repeats):
            print(f"repeat {repeat + 1} of {arguments.repeats}", flush=True)
            first = repeat % len(names)
            for cell in CELLS:
                for name in names[first:] + names[:first]:
                    load = servers.targets[name].load(cell, arguments.seconds, arguments.load_core)
                    loads[name][cell].append(load)
        return loads, servers.missing


def main() -> None:
    """Measure and write the result."""
    options = parser(MODULE, __doc__, repeats=5, seconds=3)
    options.add_argument(
        "--only", nargs="*", choices=[peer.name for peer in PEERS], help="measure these peers"
    )
    arguments = options.parse_args()
    bundle = open_bundle(arguments)
    loads, missing = measure(arguments, bundle)
    about = {
        "traces": f"{TWENTY_FACTS}, {MIXED}",
        "ratio": f"{OURS} over the peer, pair by pair",
        "spread": f"median (smallest to largest) of {arguments.repeats} repeats",
        **{f"{name} left out": reason for name, reason in missing.items()},
        **about_bundle(bundle),
    }
    numbers = {
        name: [
            {"trace": trace, "connections": connections, "repeats": [asdict(load) for load in repeats]}
            for (trace, connections), repeats in cells.items()
        ]
        for name, cells in loads.items()
    }
    write(MODULE, about, tables(loads), {"servers": numbers}, arguments.results)


if __name__ == "__main__":
    main()
