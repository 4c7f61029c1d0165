"""The processes that serve together, as one of them sees them: what must happen in all goes through here.

An *order* is a name with an argument, such as ``load`` and ``tiny:2``; every process answers it, in bytes.
Counts that must add up are asked for by an order too, so there is one seam for both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

Orders = Mapping[str, Callable[[bytes], Awaitable[bytes]]]
"""What each order does in this process."""

BEQUEATH, INHERIT = "bequeath", "inherit"
"""Orders between a worker and its successor: give the counts so far, and go on counting from there."""


class Fleet(Protocol):
    """One process, or several."""

    async def join(self, orders: Orders) -> None:
        """Take part, once the models are loaded: catch up with past orders, then carry out new ones."""
        ...

    async def everywhere(self, order: str, argument: bytes = b"") -> list[bytes]:
        """Have every process carry out an order, this one included, and return the answers.

        Raises:
            EngramError: what one of them raised.
        """
        ...

    async def elsewhere(self, order: str, argument: bytes = b"") -> list[bytes]:
        """Have every other process carry out an order, and return the answers."""
        ...

    async def leave(self) -> None:
        """Take part no more; called when the last request is answered."""
        ...


class Alone:
    """A fleet of one."""

    def __init__(self) -> None:
        self._orders: Orders = {}

    async def join(self, orders: Orders) -> None:
        """Take note of the orders."""
        self._orders = orders

    async def everywhere(self, order: str, argument: bytes = b"") -> list[bytes]:
        """Carry out the order here."""
        return [await self._orders[order](argument)]

    async def elsewhere(self, order: str, argument: bytes = b"") -> list[bytes]:
        """There is no other."""
        return []

    async def leave(self) -> None:
        """There is nobody to tell."""
