"""Starts the workers, watches them, replaces those that end, passes orders on, and stops them together.

A worker that dies takes nothing with it but what it had accepted: its sockets stay, and so do its counts.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain

from server.serving import announce
from server.settings import Settings
from server.workers.channel import Channel, Ready
from server.workers.relay import Relay
from server.workers.sockets import hold, share

logger = logging.getLogger(__name__)

WORKER = "server.workers"
"""The module that a worker runs."""

SHORTEST_LIFE_S = 5.0
"""A worker that ends sooner is started again only after a wait, which doubles each time."""

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0


STOP_MARGIN_S = 10.0
"""What a worker may take to stop beyond its drain and its grace."""


def supervise(
    settings: Settings,
    arguments: Sequence[str],
    listeners: Sequence[socket.socket],
    grpc: Sequence[socket.socket],
) -> int:
    """Serve with several workers until told to stop; return the exit status.

    Args:
        settings: how many workers, and how long they take to stop.
        arguments: the command line of the server, which every worker reads again.
        listeners: listening sockets, which are shared out; people are told about the first.
        grpc: sockets on ports that workers open for themselves.
    """

    async def run() -> int:
        shares = [share(listener, settings.workers) for listener in listeners]
        supervisor = Supervisor(
            arguments,
            list(zip(*shares, strict=True)),
            held=hold(grpc),
            started=partial(announce, shares[0][0]),
            stop_s=settings.drain_s + settings.shutdown_grace_s + STOP_MARGIN_S,
        )
        return await supervisor.run()

    return asyncio.run(run())


class Supervisor:
    """Keeps a number of workers alive until it is told to stop."""

    def __init__(
        self,
        arguments: Sequence[str],
        shares: Sequence[Sequence[socket.socket]],
        *,
        held: Sequence[socket.socket],
        started: Callable[[], None],
        stop_s: float,
    ) -> None:
        """Take what workers need.

        Args:
            arguments: the command line of the server, which every worker reads again.
            shares: for each worker the sockets that it listens on.
            held: sockets that keep a port.
            started: called once all workers take requests.
            stop_s: how long workers may take to end before they are killed.
        """
        self._arguments = arguments
        self._shares = shares
        self._held = held
        self._started = started
        self._stop_s = stop_s
        self._relay = Relay()
        self._processes: set[Process] = set()
        self._signals: list[signal.Signals] = []
        self._ready: set[int] = set()
        self._all_ready = False
        self._failed = False
        self._stopping = asyncio.Event()

    async def run(self) -> int:
        """Serve until a signal comes; return the exit status: 0 when every worker ended well."""
        loop = asyncio.get_running_loop()
        for sig in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sig, self._stop, sig)
        await asyncio.gather(*(self._keep(place) for place in range(len(self._shares))))
        return 1 if self._failed else 0

    def _stop(self, sig: signal.Signals) -> None:
        """Pass a signal on to every worker, and begin no other."""
        self._signals.append(sig)
        self._stopping.set()
        for each in [*self._held, *chain.from_iterable(self._shares)]:
            each.close()  # the workers have theirs; the port is free once the last of them lets go
        for process in self._processes:
            _send(process, sig)

    async def _keep(self, place: int) -> None:
        """Keep one worker alive."""
        wait_s = FIRST_WAIT_S
        while not self._stopping.is_set():
            born = time.monotonic()
            status = await self._live(place)
            if self._stopping.is_set():
                self._failed |= status != 0
            elif not self._all_ready and place not in self._ready:
                self._give_up(place, status)
            else:
                logger.error("worker %d ended with %d, another takes its place", place, status)
                wait_s = FIRST_WAIT_S if time.monotonic() - born > SHORTEST_LIFE_S else 2 * wait_s
                if wait_s > FIRST_WAIT_S:
                    await self._pause(min(wait_s, LONGEST_WAIT_S))

    def _give_up(self, place: int, status: int) -> None:
        """End a start that failed: the worker's own log lines say why."""
        logger.error("worker %d could not start (%d)", place, status)
        self._failed = True
        self._stop(signal.SIGTERM)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return

    async def _live(self, place: int) -> int:
        """Start a worker, talk with it until it ends, and return its exit status."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = await self._start(theirs, *self._shares[place])
        self._processes.add(process)
        if self._stopping.is_set():
            _send(process, self._signals[-1])
        channel = await Channel.over(ours)
        talking = asyncio.create_task(self._talk(place, channel))
        ending = asyncio.create_task(self._end(process))
        try:
            return await process.wait()
        finally:
            self._processes.discard(process)
            ending.cancel()
            await talking
            channel.close()

    async def _start(self, *inherited: socket.socket) -> Process:
        numbers = [each.fileno() for each in inherited]
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", WORKER, ",".join(map(str, numbers)), *self._arguments),
            pass_fds=numbers,
            start_new_session=True,  # Ctrl-C reaches the supervisor alone, which passes it on
        )

    async def _talk(self, place: int, channel: Channel) -> None:
        with self._relay.member(place, channel):
            async for message in channel.messages():
                if isinstance(message, Ready):
                    self._is_ready(place)
                else:
                    self._relay.take(place, message)

    def _is_ready(self, place: int) -> None:
        logger.info("worker %d takes requests", place)
        self._ready.add(place)
        if len(self._ready) == len(self._shares) and not self._all_ready:
            self._all_ready = True
            self._started()

    async def _end(self, process: Process) -> None:
        """Kill a worker that does not stop when it is told to."""
        await self._stopping.wait()
        await asyncio.sleep(self._stop_s)
        logger.error("a worker did not stop within %g s and is killed", self._stop_s)
        _send(process, signal.SIGKILL)


def _send(process: Process, sig: signal.Signals) -> None:
    if process.returncode is None:
        process.send_signal(sig)
