"""What both clients can do, as generators of steps: the clients only perform them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from engram import calls
from engram.calls import Call, PictureFormat, QaRequest
from engram.errors import ConnectionFailed, ServerError, Timeout, Unavailable
from engram.exchange import Attempt, Steps, attempt, exchange
from engram.options import Options
from engram.results import Answer, ItemError

T = TypeVar("T")
R = TypeVar("R")

LARGEST_BATCH = 1024
"""Requests that ``/v1/{task}/batch`` takes at once."""


@dataclass(frozen=True)
class Core:
    """Options, and where time and chance come from.

    ``timeout`` arguments are seconds for this call instead of the options' own.
    """

    options: Options
    clock: Callable[[], float]
    random: Callable[[], float]

    def run(self, call: Call[T], timeout: float | None = None) -> Steps[T]:
        """Make one call."""
        options = self.options if timeout is None else replace(self.options, timeout=timeout)
        return exchange(call, options, self.clock, self.random)

    def once(self, call: Call[T], timeout: float | None = None) -> Attempt:
        """Make one call that is sent once, because its answer is used as it arrives."""
        options = self.options if timeout is None else replace(self.options, timeout=timeout)
        return attempt(call, options, self.clock)

    def ask(self, request: QaRequest, timeout: float | None) -> Steps[Answer]:
        """Ask one question."""
        return self.run(calls.ask(request), timeout)

    def ask_many(
        self, requests: Sequence[QaRequest], timeout: float | None
    ) -> Steps[list[Answer | ItemError]]:
        """Ask any number of questions, in as few batches as the server takes; results keep the order."""
        return self.many(calls.ask_batch, requests, timeout)

    def many(
        self, batch: Callable[[Sequence[R], int], Call[list[T]]], requests: Sequence[R], timeout: float | None
    ) -> Steps[list[T]]:
        """Send any number of requests, in as few batches as the server takes; results keep the order."""
        results: list[T] = []
        for start in range(0, len(requests), LARGEST_BATCH):
            results += yield from self.run(batch(requests[start : start + LARGEST_BATCH], start), timeout)
        return results

    def picture(
        self, request: QaRequest, picture_format: PictureFormat, timeout: float | None
    ) -> Steps[bytes]:
        """Ask one question and return its attention as a picture."""
        return self.run(calls.picture(request, picture_format), timeout)

    def probe(self, kind: Literal["live", "ready"]) -> Steps[bool]:
        """Ask once; a server that cannot be reached is neither live nor ready."""
        once = replace(self, options=replace(self.options, retries=0))
        try:
            return (yield from once.run(calls.health(kind)))
        except (ConnectionFailed, Timeout, Unavailable, ServerError):
            return False
