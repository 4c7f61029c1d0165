"""A thread that owns a session and works for a queue on the event loop, which watches over it."""

from __future__ import annotations

import logging
import os
import sys
import time
from abc import ABC, abstractmethod
from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable
from contextlib import suppress
from threading import Thread, get_native_id
from typing import Any

logger = logging.getLogger(__name__)

STEP_BACK = 5
"""By how much these threads are nicer than the event loop, where the system knows threads by themselves: a
third of its weight when both want one core. Requests are then refused, and deadlines told, on time."""


class Worker(ABC):
    """A long-lived thread. Use it on the event loop; ``_serve`` and ``_close`` run on the thread.

    It is lost when its thread dies or when it works for longer than ``stall_s`` without a word. A thread that
    hangs in native code cannot be stopped: it is left behind, and ends if its call ever returns.

    ``cost`` is what the requests that it works on count for.
    """

    def __init__(
        self, loop: AbstractEventLoop, stall_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._loop = loop
        self._stall_s = stall_s
        self._clock = clock
        self.cost = 0
        self._watchdog: TimerHandle | None = None
        self._is_lost = False
        self._thread = Thread(target=self._work, name="engram-executor", daemon=True)

    @abstractmethod
    def stop(self) -> None:
        """End the thread and close its session once what it was given is done."""

    def join(self) -> None:
        """Wait for the end of the thread, but not for a run that hangs."""
        self._thread.join(self._stall_s)

    @abstractmethod
    def _serve(self) -> None:
        """Work until stopped."""

    @abstractmethod
    def _close(self) -> None:
        """Let go of the session."""

    @abstractmethod
    def _report_loss(self, why: str) -> None:
        """Tell the queue, once, that this worker will do nothing more."""

    def _watch(self) -> None:
        """Expect a word within ``stall_s``."""
        self._watchdog = self._loop.call_later(
            self._stall_s, self._lose, f"a run took longer than {self._stall_s:g} s"
        )

    def _rest(self) -> None:
        """Expect nothing."""
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None

    def _lose(self, why: str) -> None:
        if not self._is_lost:
            self._is_lost = True
            self._rest()
            self.stop()
            self._report_loss(why)

    def _work(self) -> None:
        _step_back()
        try:
            self._serve()
        except BaseException as error:  # whatever it is, requests wait for this thread
            logger.critical("an executor died", exc_info=error)
            self._tell(self._lose, "its thread died")
        finally:
            self._close()

    def _tell(self, callback: Callable[..., None], *arguments: Any) -> None:
        """Call something on the event loop."""
        with suppress(RuntimeError):  # the loop is closed, nobody waits any more
            self._loop.call_soon_threadsafe(callback, *arguments)


def _step_back() -> None:
    """Let the event loop go first where it shares a core with this thread."""
    if sys.platform == "linux":
        with suppress(OSError):
            thread = get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + STEP_BACK)
