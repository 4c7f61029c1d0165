"""How many lines of batches run at the same time: few while people ask, more while nobody does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

POLITE_S = 5.0
"""How long after the last interactive request the pace stays low."""

LOOK_S = 0.02
"""How often to look whether there was one."""


class Pace:
    """A semaphore whose size follows what else is going on.

    What runs cannot be interrupted, so an interactive request waits for the lines that run as it comes: with
    few of them in a run, not for long.
    """

    def __init__(
        self,
        most: int,
        polite: int,
        interactive: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take how it goes.

        Args:
            most: lines that may run at the same time while nobody else asks.
            polite: lines while somebody does.
            interactive: returns how many interactive requests there have been.
            clock: seconds.
        """
        self.most = most
        self.running = 0
        self._polite = min(polite, most)
        self._interactive = interactive
        self._clock = clock
        self._seen = 0
        self._polite_until = self._look_at = clock()
        self._freed = asyncio.Event()

    @property
    def limit(self) -> int:
        """How many lines may run now."""
        now = self._clock()
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            if (count := self._interactive()) != self._seen:
                self._seen, self._polite_until = count, now + POLITE_S
        return self._polite if now < self._polite_until else self.most

    async def enter(self) -> None:
        """Wait until one more line may run. Only one task may wait."""
        while self.running >= self.limit:
            self._freed.clear()
            await self._freed.wait()
        self.running += 1

    def leave(self) -> None:
        """Say that a line has ended."""
        self.running -= 1
        self._freed.set()
