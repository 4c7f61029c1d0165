"""A thread that walks the requests of one model, lets newcomers join between steps and reports on them.

The event loop decides who is let in (``Decoder``); the thread takes it from there and owns the walks.
"""

from __future__ import annotations

import time
from asyncio import AbstractEventLoop
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

import msgspec

from server.errors import RunError
from server.runtime.executor import Run, failure_of
from server.runtime.request_queue import Waiting
from server.runtime.stepwise.steps import Walk
from server.runtime.stepwise.walker import Events, Walker
from server.runtime.stepwise.wiring import Newcomer
from server.runtime.worker import Worker

QUIET_PARTS = 8
"""A thread with nothing to tell says so this often in the time after which it would be held for lost."""

OnEvents = Callable[[Events], None]
"""Called on the event loop with what a step of a request had to tell."""


@dataclass(slots=True, eq=False)
class Entry(Waiting):
    """A request that waits or walks. The thread alone writes ``started``, ``input_ms`` and ``mates``."""

    newcomer: Newcomer
    on_events: OnEvents | None = None
    started: float = 0.0
    input_ms: float = 0.0
    mates: int = 1


@dataclass(frozen=True, slots=True)
class Answered:
    """How a walk ended: the task's answer, and a ``Run`` without outputs that says what it took."""

    answer: msgspec.Struct
    run: Run


Ending = Answered | RunError | None
"""How a request leaves an executor; ``None`` when nobody waited for it any more."""


@dataclass(slots=True)
class Turn:
    """What happened since the last report, in one step or, where nothing was to be told, in several.

    The counts are those of the ``Walker``, for these steps.
    """

    told: list[tuple[Entry, Events]] = field(default_factory=list)
    ended: list[tuple[Entry, Ending]] = field(default_factory=list)
    seconds: float = 0.0
    runs: int = 0
    rows: int = 0
    cells: int = 0
    padded_cells: int = 0


Turned = Callable[["StepwiseExecutor", Turn], None]
"""Called on the event loop when there is something to tell, and now and then."""

Lost = Callable[["StepwiseExecutor", Sequence[Entry], str], None]
"""Called on the event loop, once, with an executor that will walk no further, its requests, and why."""


class StepwiseExecutor(Worker):
    """A thread with a walker. Construct and use it on the event loop.

    It is lost when its thread dies, when a session says so (``ExecutorLost``), or when a turn takes longer
    than ``stall_s``.

    Attributes:
        entries: the requests that it walks, by identity, as the event loop knows them.
        cost: what those count for.
    """

    def __init__(
        self,
        walker: Walker,
        close: Callable[[], None],
        loop: AbstractEventLoop,
        *,
        turned: Turned,
        lost: Lost,
        stall_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(loop, stall_s, clock)
        self.entries: dict[int, Entry] = {}
        self.cost = 0
        self._walker = walker
        self._close_sessions = close
        self._turned = turned
        self._lost = lost
        self._inbox: SimpleQueue[list[Entry] | None] = SimpleQueue()
        self._stopping = False
        self._thread.start()

    def admit(self, entries: list[Entry]) -> None:
        """Let requests join before the next step."""
        if not self.entries:
            self._watch()
        for entry in entries:
            self.entries[id(entry)] = entry
            self.cost += entry.cost
        self._inbox.put(entries)

    def stop(self) -> None:
        """End the thread and close its sessions once the requests admitted so far are answered."""
        self._inbox.put(None)

    def _report(self, turn: Turn) -> None:
        if self._is_lost:
            return
        self._rest()
        for entry, _ in turn.ended:
            del self.entries[id(entry)]
            self.cost -= entry.cost
        if self.entries:
            self._watch()
        self._turned(self, turn)

    def _report_loss(self, why: str) -> None:
        self._lost(self, list(self.entries.values()), why)

    def _close(self) -> None:
        self._close_sessions()

    def _serve(self) -> None:
        walks: list[tuple[Entry, Walk]] = []
        turn, before = Turn(), self._counts()
        while not self._is_lost and (walks or not self._stopping):
            newcomers = self._newcomers(wait=not walks)
            started = self._clock()
            awaited = set(map(id, _awaited([entry for entry, _ in walks] + newcomers, turn)))
            walks = [(entry, walk) for entry, walk in walks if id(entry) in awaited]
            walks += self._begin([entry for entry in newcomers if id(entry) in awaited], turn)
            walks = self._step(walks, turn)
            turn.seconds += self._clock() - started
            if turn.ended or turn.told or turn.seconds > self._stall_s / QUIET_PARTS:
                counts = self._counts()
                turn.runs, turn.rows, turn.cells, turn.padded_cells = (
                    now - then for now, then in zip(counts, before, strict=True)
                )
                self._tell(self._report, turn)
                turn, before = Turn(), counts

    def _newcomers(self, *, wait: bool) -> list[Entry]:
        """Return who was admitted meanwhile; without anybody to walk for, wait for them."""
        newcomers: list[Entry] = []
        try:
            while True:
                entries = self._inbox.get(block=wait and not newcomers)
                if entries is None:
                    self._stopping = True
                    return newcomers
                newcomers += entries
        except Empty:
            return newcomers

    def _begin(self, entries: list[Entry], turn: Turn) -> list[tuple[Entry, Walk]]:
        if not entries:
            return []
        started = self._clock()
        begun = self._walker.begin([entry.newcomer for entry in entries])
        input_ms = (self._clock() - started) * 1e3
        walks: list[tuple[Entry, Walk]] = []
        for entry, walk in zip(entries, begun, strict=True):
            entry.started, entry.input_ms = started, input_ms
            if isinstance(walk, RunError):
                turn.ended.append((entry, walk))
            else:
                walks.append((entry, walk))
        return self._finish(walks, turn)

    def _step(self, walks: list[tuple[Entry, Walk]], turn: Turn) -> list[tuple[Entry, Walk]]:
        if not walks:
            return walks
        going: list[tuple[Entry, Walk]] = []
        outcomes = self._walker.step([walk for _, walk in walks])
        for (entry, walk), outcome in zip(walks, outcomes, strict=True):
            if isinstance(outcome, RunError):
                turn.ended.append((entry, outcome))
                continue
            entry.mates = max(entry.mates, walk.mates)
            if outcome and entry.on_events is not None:
                turn.told.append((entry, outcome))
            going.append((entry, walk))
        return self._finish(going, turn)

    def _finish(self, walks: list[tuple[Entry, Walk]], turn: Turn) -> list[tuple[Entry, Walk]]:
        """Answer those that are finished and return the others."""
        going: list[tuple[Entry, Walk]] = []
        for entry, walk in walks:
            try:
                if walk.search.finished:
                    turn.ended.append((entry, Answered(walk.search.answer(), self._run_of(entry))))
                else:
                    going.append((entry, walk))
            except Exception as error:
                turn.ended.append((entry, failure_of(error)))
        return going

    def _run_of(self, entry: Entry) -> Run:
        return Run(
            {},
            entry.mates,
            (entry.started - entry.arrived) * 1e3,
            (self._clock() - entry.started) * 1e3,
            entry.input_ms,
            cells=entry.newcomer.cells,
        )

    def _counts(self) -> tuple[int, ...]:
        walker = self._walker
        return walker.runs, walker.rows, walker.cells, walker.padded_cells


def _awaited(entries: list[Entry], turn: Turn) -> list[Entry]:
    """Drop requests whose client left or whose deadline passed."""
    turn.ended += [(entry, None) for entry in entries if entry.future.done()]
    return [entry for entry in entries if not entry.future.done()]
