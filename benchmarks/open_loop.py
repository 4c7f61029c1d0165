"""Open-loop load: requests leave when they are due, whether or not earlier ones were answered.

wrk cannot do that. One request is in flight on a connection; when all are busy, another is opened.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import resource
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Self, TypeVar, cast

import uvloop

from benchmarks.machine import pinned

T = TypeVar("T")

CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
RETRY_AFTER = re.compile(rb"\r\nretry-after: *\d", re.IGNORECASE)
BURST = 64
"""Requests sent without looking at answers, when the load is behind its schedule."""

IDLE_CONNECTIONS = 512
"""Connections opened before the first request."""


@dataclass(slots=True)
class Shot:
    """One request and what became of it; times are in seconds on the loop's clock, status 0 is no answer."""

    due: float
    sent: float = 0.0
    answered: float = 0.0
    status: int = 0
    has_retry_after: bool = False


class Connection(asyncio.Protocol):
    """A kept-alive connection with at most one request in flight."""

    def __init__(self, pool: Connections) -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._answer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._shot: Shot | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its class

    def send(self, shot: Shot, post: bytes) -> None:
        """Send a request; ``shot`` takes note of it."""
        assert self._transport is not None
        self._shot, shot.sent = shot, self._loop.time()
        self._pool.began()
        self._transport.write(post)

    def close(self) -> None:
        """Leave, whatever is in flight."""
        assert self._transport is not None
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Collect the answer; when it is whole, the connection is idle again."""
        self._answer += data
        head = self._answer.find(b"\r\n\r\n")
        length = CONTENT_LENGTH.search(self._answer, 0, head + 2) if head > 0 else None
        if self._shot is None or length is None or len(self._answer) < head + 4 + int(length[1]):
            return
        shot, self._shot = self._shot, None
        shot.answered, shot.status = self._loop.time(), int(self._answer[9:12])
        shot.has_retry_after = RETRY_AFTER.search(self._answer, 0, head + 2) is not None
        self._answer.clear()
        self._pool.idle.append(self)
        self._pool.ended()

    def connection_lost(self, _: Exception | None) -> None:
        """Leave the pool; a request in flight stays without an answer."""
        if self._shot is not None:
            self._shot = None
            self._pool.ended()
        self._pool.lost(self)


class Connections:
    """The connections to one local port, opened as they are needed and closed together."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._in_flight = 0
        self._quiet = asyncio.Event()
        self._opening: set[asyncio.Task[None]] = set()
        self._open: set[Connection] = set()
        self._all_lost = asyncio.Event()
        self.idle: list[Connection] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in self._open:
            connection.close()
        if self._open:
            await self._all_lost.wait()

    async def open(self) -> Connection:
        """Open a connection that is not among the idle ones yet."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(self), "127.0.0.1", self._port)
        self._open.add(connection)
        return connection

    def lost(self, connection: Connection) -> None:
        """Forget a connection that was closed, by whichever side."""
        self._open.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)
        if not self._open:
            self._all_lost.set()

    def send(self, shot: Shot, post: bytes) -> None:
        """Send a request on an idle connection, or on a new one as soon as it is open."""
        if self.idle:
            self.idle.pop().send(shot, post)
            return
        task = asyncio.create_task(self._open_and_send(shot, post))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def began(self) -> None:
        """Count a request in flight."""
        self._in_flight += 1
        self._quiet.clear()

    def ended(self) -> None:
        """Count one less."""
        self._in_flight -= 1
        if not self._in_flight:
            self._quiet.set()

    async def until_quiet(self, patience_s: float) -> None:
        """Wait until no request is in flight, or patience ends."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await asyncio.gather(*self._opening)
                await self._quiet.wait()

    async def _open_and_send(self, shot: Shot, post: bytes) -> None:
        with suppress(OSError):  # a refused connection stays without an answer
            (await self.open()).send(shot, post)


async def open_loop(
    port: int, posts: Sequence[bytes], rate: float, seconds: float, patience_s: float
) -> list[Shot]:
    """Send requests at random moments, ``rate`` a second on average, and wait for their answers.

    Args:
        port: of the server.
        posts: raw requests, sent in turn.
        rate: requests a second; the gaps between them are exponential.
        seconds: how long.
        patience_s: how long to wait for the last answers.
    """
    loop = asyncio.get_running_loop()
    random = Random(0)  # noqa: S311 - arrivals, not secrets
    gaps = [random.expovariate(rate) for _ in range(round(rate * seconds))]
    async with Connections(port) as connections:
        connections.idle += [await connections.open() for _ in range(IDLE_CONNECTIONS)]
        start = loop.time()
        shots = [Shot(start + moment) for moment in itertools.accumulate(gaps)]
        for place, shot in enumerate(shots):
            if (ahead_s := shot.due - loop.time()) > 0:
                await asyncio.sleep(ahead_s)
            elif place % BURST == 0:
                await asyncio.sleep(0)
            connections.send(shot, posts[place % len(posts)])
        await connections.until_quiet(patience_s)
    return shots


def run_on(core: int, work: Callable[[], Awaitable[T]]) -> T:
    """Run a coroutine function on one core, with as many connections as the system allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    async def wrapped() -> T:
        return await work()

    with pinned(core), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(wrapped())
