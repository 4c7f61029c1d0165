"""One long-lived thread with a session of its own: batches in through a queue, outcomes out in one call."""

from __future__ import annotations

import logging
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from queue import SimpleQueue

import msgspec

from server.contract.manifest import Signature
from server.contract.tensors import Array, Arrays, join, split
from server.errors import ExecutorLost, RunError
from server.runtime.request_queue import Waiting
from server.runtime.session import Session
from server.runtime.worker import Worker

logger = logging.getLogger(__name__)


class Run(msgspec.Struct, frozen=True):
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
class Entry(Waiting):
    """A request in the queue or in a run. ``shape`` is that of its largest input, ``cells`` its product."""

    arrays: Arrays
    outputs: Sequence[str]
    sizes: Mapping[str, int]
    shape: tuple[int, ...]
    cells: int


Outcome = Run | RunError | None
"""What a run gave an entry; ``None`` when nobody waited for it any more."""

Done = Callable[["Executor", list[Entry], list[Outcome], float], None]
"""Called on the event loop with the executor, its batch, an outcome for each entry, and the seconds from its
hand-over to this call: how soon an executor gets more to do is a part of how fast it is."""

Lost = Callable[["Executor", list[Entry], str], None]
"""Called on the event loop, once, with an executor that will run nothing more, its batch, and why."""


def failure_of(error: Exception) -> RunError:
    """Log what went wrong in a run and return it as the error of its request."""
    logger.error("a run failed", exc_info=error)
    if isinstance(error, RunError):
        return error
    failure = RunError("the graph failed on this input")
    failure.__cause__ = error
    return failure


class Executor(Worker):
    """A thread that runs one batch after the other. Construct and use it on the event loop.

    It is lost when its thread dies, when its session says so (``ExecutorLost``), or when a batch takes
    longer than ``stall_s``.
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
        super().__init__(loop, stall_s, clock)
        self._session = session
        self._signature = signature
        self._done = done
        self._lost = lost
        self._batch: list[Entry] = []
        self._submitted = 0.0
        self._inbox: SimpleQueue[list[Entry] | None] = SimpleQueue()
        self._thread.start()

    def submit(self, batch: list[Entry]) -> None:
        """Run a batch; the outcomes come back by ``done``, unless the executor is ``lost`` over it."""
        self._batch, self._submitted = batch, self._clock()
        self.cost = sum(entry.cost for entry in batch)
        self._watch()
        self._inbox.put(batch)

    def stop(self) -> None:
        """End the thread and close its session once the batches submitted so far have run."""
        self._inbox.put(None)

    def _finish(self, batch: list[Entry], outcomes: list[Outcome]) -> None:
        if not self._is_lost:
            self._rest()
            self._batch, self.cost = [], 0
            self._done(self, batch, outcomes, self._clock() - self._submitted)

    def _report_loss(self, why: str) -> None:
        self._lost(self, self._batch, why)

    def _serve(self) -> None:
        while (batch := self._inbox.get()) is not None:
            self._tell(self._finish, batch, self._outcomes(batch))

    def _close(self) -> None:
        self._session.close()

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
            results = [failure_of(error)] if len(live) == 1 else self._after_failure(live, error)
        found = dict(zip(map(id, live), results, strict=True))
        return [found.get(id(entry)) for entry in batch]

    def _after_failure(self, live: list[Entry], error: Exception) -> list[Outcome]:
        logger.warning("a batch of %d failed, its requests run singly: %r", len(live), error)
        return [outcome for entry in live for outcome in self._outcomes([entry])]

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
            Run(
                _own(result, entry.outputs),
                len(entries),
                (started - entry.arrived) * 1e3,
                *costs,
                entry.cells,
                row,
            )
            for entry, result in zip(entries, results, strict=True)
        ]


def _own(outputs: dict[str, Array], wanted: Sequence[str]) -> dict[str, Array]:
    """Return what a request asked for; others of its batch may have asked for more."""
    return outputs if len(outputs) == len(wanted) else {name: outputs[name] for name in wanted}
