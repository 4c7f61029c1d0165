"""Joins requests that wait at the same time into batches and hands them to executor threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from server.contract.manifest import Signature
from server.contract.tensors import Array, Arrays
from server.runtime.options import RuntimeOptions
from server.runtime.session import Session


@dataclass(frozen=True, slots=True)
class Run:
    """What became of one request: its own outputs, padding removed, and what the run cost."""

    outputs: Mapping[str, Array]
    batch_size: int
    queue_ms: float
    compute_ms: float


class Batcher:
    """The queue of one model and its executors. Everything but the runs themselves happens on the event loop."""

    def __init__(
        self,
        sessions: Sequence[Session],
        signature: Signature,
        options: RuntimeOptions,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        raise NotImplementedError

    async def run(self, arrays: Arrays, outputs: Sequence[str], deadline: float | None) -> Run:
        """Run one request's arrays, together with others that fit.

        Args:
            arrays: named inputs without the batch axis.
            outputs: the graph outputs wanted.
            deadline: on the batcher's clock (``time.monotonic``) in seconds; ``None`` waits as long as it takes.

        Raises:
            DeadlineExceeded: at the deadline, whatever the executors do.
            InvalidRequest: the arrays do not fit the signature.
            Overloaded: the queue is full.
            RunError: the graph failed on this request.
            ShuttingDown: the batcher drains or is closed.
        """
        raise NotImplementedError

    async def drain(self) -> None:
        """Refuse new requests and wait until the accepted ones are answered."""

    async def close(self) -> None:
        """Refuse new and waiting requests, let running ones finish, end the threads and close the sessions."""
