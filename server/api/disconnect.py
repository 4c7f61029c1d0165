"""Stopping work for a client that has left."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive, Scope

from server.api.http_errors import ClientGone

T = TypeVar("T")


class Departure:
    """Stops the one request that a connection works on, once its client has left."""

    __slots__ = ("gone", "task")

    def __init__(self) -> None:
        self.gone = False
        self.task: asyncio.Task[Any] | None = None

    def note(self) -> None:
        """Take note that the client has left; whatever the request awaits is cancelled at once."""
        self.gone = True
        if self.task is not None:
            self.task.cancel()
            self.task = None  # one cancellation for each departure


async def while_connected(work: Coroutine[Any, Any, T], scope: Scope, receive: Receive) -> T:
    """Return the result of ``work``, which is cancelled when the client disconnects.

    The server's own connections note a departure in the moment they read of it, so that a request never runs
    whose end was there to be read. Any other server is asked by ``receive``, at the price of a task.
    Call it once the whole body has been read.

    Raises:
        ClientGone: the client left first.
    """
    departure: Departure | None = scope.get("departure")
    if departure is not None:
        return await _unless_gone(work, departure)
    departure = Departure()
    watcher = asyncio.create_task(_watch(receive, departure))
    try:
        return await _unless_gone(work, departure)
    finally:
        watcher.cancel()


async def _unless_gone(work: Coroutine[Any, Any, T], departure: Departure) -> T:
    if departure.gone:
        work.close()
        raise ClientGone
    departure.task = task = asyncio.current_task()
    assert task is not None
    try:
        return await work
    except asyncio.CancelledError:
        if not departure.gone:
            raise
        task.uncancel()
        raise ClientGone from None
    finally:
        departure.task = None


async def _watch(receive: Receive, departure: Departure) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    departure.note()
