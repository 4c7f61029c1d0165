"""A worker's place in the fleet: it asks the supervisor, and carries out what the supervisor says."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any

from server.errors import EngramError, ShuttingDown
from server.runtime.fleet import BEQUEATH, INHERIT, Orders
from server.workers.channel import Answers, Ask, Bequest, Channel, Do, Done, Failure, Past, Ready

logger = logging.getLogger(__name__)

BEQUEATH_EVERY_S = 1.0
"""How much counting a worker that is killed can lose."""


class Member:
    """Implements ``Fleet`` over one end of a control channel."""

    def __init__(self, end: socket.socket, orphaned: Callable[[], None]) -> None:
        """Take the channel.

        Args:
            end: this worker's end of the socket pair.
            orphaned: called when the supervisor is gone.
        """
        self._end = end
        self._orphaned = orphaned
        self._numbers = count()
        self._asked: dict[int, asyncio.Future[list[bytes]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._orders: Orders = {}
        self._channel: Channel | None = None
        self._leaving = False

    async def join(self, orders: Orders) -> None:
        """Do what the others did before this worker came, then listen."""
        self._orders = orders
        self._channel = await Channel.over(self._end)
        caught_up = asyncio.get_running_loop().create_future()
        self._start(self._listen(self._channel, caught_up))
        await caught_up
        self._start(self._keep_bequeathing())

    def ready(self) -> None:
        """Tell the supervisor that this worker takes requests."""
        if self._channel is not None:
            self._channel.send(Ready())

    async def everywhere(self, order: str, argument: bytes = b"") -> list[bytes]:
        """Ask the supervisor and wait for what came of it in every worker."""
        return await self._ask(order, argument, own=True)

    async def elsewhere(self, order: str, argument: bytes = b"") -> list[bytes]:
        """Ask the supervisor and wait for what came of it in the other workers."""
        return await self._ask(order, argument, own=False)

    async def leave(self) -> None:
        """Leave the counts behind."""
        self._leaving = True
        await self._bequeath()

    async def _ask(self, order: str, argument: bytes, *, own: bool) -> list[bytes]:
        if self._channel is None:
            raise ShuttingDown("this worker has lost its supervisor")
        number = next(self._numbers)
        answered: asyncio.Future[list[bytes]] = asyncio.get_running_loop().create_future()
        self._asked[number] = answered
        self._channel.send(Ask(number, order, argument, own))
        try:
            return await answered
        finally:
            del self._asked[number]

    async def _listen(self, channel: Channel, caught_up: asyncio.Future[None]) -> None:
        async for message in channel.messages():
            match message:
                case Past(orders, bequest):
                    for order, argument in orders:
                        await self._carry_out(order, argument)
                    if bequest:
                        await self._carry_out(INHERIT, bequest)
                    caught_up.set_result(None)
                case Do(number, order, argument):
                    self._start(self._do(channel, number, order, argument))
                case Answers(number, answers, failure) if number in self._asked:
                    if failure is None:
                        self._asked[number].set_result(answers)
                    else:
                        self._asked[number].set_exception(failure.error())
        self._lose(channel)

    async def _keep_bequeathing(self) -> None:
        while self._channel is not None:
            await asyncio.sleep(BEQUEATH_EVERY_S)
            await self._bequeath()

    async def _bequeath(self) -> None:
        counts = await self._orders[BEQUEATH](b"")
        if self._channel is not None:
            self._channel.send(Bequest(counts))

    def _lose(self, channel: Channel) -> None:
        self._channel = None
        channel.close()
        for answered in self._asked.values():
            if not answered.done():
                answered.set_exception(ShuttingDown("this worker has lost its supervisor"))
        if not self._leaving:
            logger.error("the supervisor is gone, this worker ends")
            self._orphaned()

    async def _do(self, channel: Channel, number: int, order: str, argument: bytes) -> None:
        outcome = await self._carry_out(order, argument)
        if isinstance(outcome, Failure):
            channel.send(Done(number, failure=outcome))
        else:
            channel.send(Done(number, outcome))

    async def _carry_out(self, order: str, argument: bytes) -> bytes | Failure:
        try:
            return await self._orders[order](argument)
        except EngramError as error:
            logger.warning("order %s: %s", order, error.message)
            return Failure.of(error)
        except Exception as error:
            logger.exception("order %s failed", order)
            return Failure.of(error)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
