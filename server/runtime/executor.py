"""One long-lived thread with a session of its own: batches in through a queue, outcomes out in one call."""

from __future__ import annotations

import logging
import time
from asyncio import AbstractEventLoop, Future, TimerHandle
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from queue import SimpleQueue
from threading import Thread
from typing import Any

from server.contract.manifest import Signature
from server.contract.tensors import Array, Arrays, join, split
from server.errors import ExecutorLost, RunError
from server.runtime.session import Session

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Run:
    """What became of one request: its own outputs, padding removed, and what the run cost.

    ``compute_ms`` includes ``input_ms``, the joining of the batch, and ``output_ms``, its taking apart.
    ``cells`` is what the request brought, ``padded_cells`` the place it took in the batch.
    """

    outputs: Mapping[str, Array]
    batch_size: int
    queue_ms: float
    compute_ms: float
    input_ms: float = 0.0
    output_ms: float = 0.0
    cells: int = 0
    padded_cells: int = 0


@dataclass(slots=True, eq=False)
class Entry:
    """A request in the queue or in a run. ``shape`` is that of its largest input, ``cells`` its product.

    ``cost`` is what it counts for in the queue.
    """

    arrays: Arrays
    outputs: Sequence[str]
    sizes: Mapping[str, int]
    shape: tuple[int, ...]
    cells: int
    cost: int
    arrived: float
    deadline: float | None
    future: Future[Run]
    timer: TimerHandle | None = None


Outcome = Run | RunError | None
"""What a run gave an entry; ``None`` when nobody waited for it any more."""

Done = Callable[["Executor", list[Entry], list[Outcome], float], None]
"""Called on the event loop with the executor, its batch, an outcome for each entry, and the seconds taken."""

Lost = Callable[["Executor", list[Entry], str], None]
"""Called on the event loop, once, with an executor that will run nothing more, its batch, and why."""


class Executor:
    """A thread that runs one batch after the other. Construct and use it on the event loop.

    It is lost when its thread dies, when its session says so (``ExecutorLost``), or when a batch takes
    longer than ``stall_s``. A thread that hangs in native code cannot be stopped: it is left behind, and
    ends if its call ever returns.
    """

    def __init__(
        self,
        session: Session,
        signature: Signature,
        loop: AbstractEventLoop,
        *,
        done: Done,
        lost: Lost,
        stall_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._signature = signature
        self._loop = loop
        self._done = done
        self._lost = lost
        self._stall_s = stall_s
        self._clock = clock
        self._batch: list[Entry] = []
        self._watchdog: TimerHandle | None = None
        self._is_lost = False
        self._inbox: SimpleQueue[list[Entry] | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name="engram-executor", daemon=True)
        self._thread.start()

    def submit(self, batch: list[Entry]) -> None:
        """Run a batch; the outcomes come back by ``done``, unless the executor is ``lost`` over it."""
        self._batch = batch
        self._watchdog = self._loop.call_later(
            self._stall_s, self._lose, f"a run took longer than {self._stall_s:g} s"
        )
        self._inbox.put(batch)

    def stop(self) -> None:
        """End the thread and close its session once the batches submitted so far have run."""
        self._inbox.put(None)

    def join(self) -> None:
        """Wait for the end of the thread, but not for a run that hangs."""
        self._thread.join(self._stall_s)

    def _finish(self, batch: list[Entry], outcomes: list[Outcome], seconds: float) -> None:
        if not self._is_lost:
            self._rest()
            self._done(self, batch, outcomes, seconds)

    def _lose(self, why: str) -> None:
        if not self._is_lost:
            self._is_lost = True
            batch = self._rest()
            self.stop()
            self._lost(self, batch, why)

    def _rest(self) -> list[Entry]:
        if self._watchdog is not None:
            self._watchdog.cancel()
        batch, self._batch, self._watchdog = self._batch, [], None
        return batch

    def _work(self) -> None:
        try:
            while (batch := self._inbox.get()) is not None:
                started = self._clock()
                outcomes = self._outcomes(batch)
                self._tell(self._finish, batch, outcomes, self._clock() - started)
        except BaseException as error:  # whatever it is, requests wait for this thread
            logger.critical("an executor died", exc_info=error)
            self._tell(self._lose, "its thread died")
        finally:
            self._session.close()

    def _tell(self, callback: Callable[..., None], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed, nobody waits any more
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _outcomes(self, batch: list[Entry]) -> list[Outcome]:
        """Run those that are still waited for together, and singly if that fails: a bad one spoils itself."""
        live = [entry for entry in batch if not entry.future.done()]
        if not live:
            return [None] * len(batch)
        try:
            results: list[Outcome] = [*self._run(live)]
        except ExecutorLost:
            raise
        except Exception as error:
            results = [self._failure(error)] if len(live) == 1 else self._after_failure(live, error)
        found = dict(zip(map(id, live), results, strict=True))
        return [found.get(id(entry)) for entry in batch]

    def _after_failure(self, live: list[Entry], error: Exception) -> list[Outcome]:
        logger.warning("a batch of %d failed, its requests run singly: %r", len(live), error)
        return [outcome for entry in live for outcome in self._outcomes([entry])]

    def _failure(self, error: Exception) -> RunError:
        logger.error("a run failed", exc_info=error)
        if isinstance(error, RunError):
            return error
        failure = RunError("the graph failed on this input")
        failure.__cause__ = error
        return failure

    def _run(self, entries: list[Entry]) -> list[Run]:
        started = self._clock()
        wanted = {name for entry in entries for name in entry.outputs}
        names = [spec.name for spec in self._signature.outputs if spec.name in wanted]
        inputs = join(self._signature.inputs, [entry.arrays for entry in entries])
        joined = self._clock()
        outputs = self._session.run(inputs, names)
        ran = self._clock()
        results = split(self._signature.outputs, outputs, [entry.sizes for entry in entries])
        ended = self._clock()
        costs = (ended - started) * 1e3, (joined - started) * 1e3, (ended - ran) * 1e3
        row = prod(map(max, zip(*(entry.shape for entry in entries), strict=True)))
        return [
            Run(result, len(entries), (started - entry.arrived) * 1e3, *costs, entry.cells, row)
            for entry, result in zip(entries, results, strict=True)
        ]
