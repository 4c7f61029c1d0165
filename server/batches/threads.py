"""Threads of their own for the database, so that nobody else's work waits for a slow disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

COUNT = 4
"""More gain nothing: SQLite has one writer at a time."""


class Threads:
    """Call it with a function and its arguments, and await the result."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(COUNT, thread_name_prefix="batches")

    async def __call__(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what the function returns."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: work(*args, **kwargs))

    def close(self) -> None:
        """Let the threads end."""
        self._pool.shutdown(wait=False)
