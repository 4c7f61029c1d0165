"""One version of one model in this process: its bundle, its batcher, and whether it can answer."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

from server.contract.bundle import Bundle
from server.contract.tensors import Array, Arrays
from server.errors import BundleError, EngramError, ModelNotReady
from server.runtime.batcher import Batcher
from server.runtime.executor import Run
from server.runtime.garbage import look_again
from server.runtime.lines import Priority
from server.runtime.opening import Opening
from server.runtime.options import RuntimeOptions
from server.runtime.rows import check_batch, cut, stack, together
from server.runtime.session import OpenSession, Session, open_session
from server.runtime.statistics import Statistics
from server.runtime.stepwise.decoder import Decoder
from server.runtime.stepwise.executor import OnEvents
from server.runtime.stepwise.parts import walk_parts, whole_run
from server.runtime.stepwise.stages import StageSessions
from server.tasks import TASKS, PartedTask, SingleRunTask, StepwiseTask, Task
from server.tracing import ran, step

logger = logging.getLogger(__name__)

State = Literal["loading", "ready", "failed", "unloaded"]

LATECOMERS_S = 0.2
"""Requests that found a model just before it was replaced have this long to begin."""


class Visitors:
    """How many requests are inside at this moment."""

    count = 0

    def __enter__(self) -> None:
        self.count += 1

    def __exit__(self, *_: object) -> None:
        self.count -= 1


class LoadedModel:
    """A model that is loading, ready, failed or unloaded.

    ``reason`` says why it is not ready, or why a newer one could not replace it.

    ``bundle``, ``task``, ``runtime`` and ``device`` are ``None`` until they are known; once ``state`` is
    ``ready`` all are there. ``statistics`` counts what became of requests.
    """

    def __init__(
        self,
        folder: Path,
        version: int,
        options: RuntimeOptions,
        open_session: OpenSession = open_session,
    ) -> None:
        self.name = folder.name
        self.version = version
        self.state: State = "loading"
        self.reason: str | None = None
        self.bundle: Bundle | None = None
        self.task: Task | None = None
        self.runtime: str | None = None
        self.device: str | None = None
        self.statistics = Statistics()
        self._folder = folder
        self.options = options.of(folder.name)
        self._open_session = open_session
        self._parity: Any = None
        self._opening: Opening | None = None
        self._batcher: Batcher | None = None
        self._decoder: Decoder | None = None
        self._parted: PartedTask | None = None
        self._visitors = Visitors()

    @property
    def executors(self) -> int:
        """How many executors live; with none, requests wait for one that is on its way."""
        queue = self._decoder or self._batcher
        return queue.executors if queue is not None else 0

    @property
    def waiting(self) -> tuple[int, int]:
        """How many requests wait for an executor, and how many cells."""
        queues = self._queues()
        return sum(queue.waiting for queue in queues), sum(queue.waiting_cost for queue in queues)

    @property
    def waiting_cells(self) -> dict[str, int]:
        """How many cells of each priority wait."""
        costs = [queue.waiting_costs for queue in self._queues()]
        return {priority.label: sum(each[priority] for each in costs) for priority in Priority}

    @property
    def running(self) -> int:
        """How many requests a model that is driven step by step works on at this moment."""
        return self._decoder.running if self._decoder is not None else 0

    async def load(self) -> None:
        """Open and verify the bundle, replay its probes on the device it really got, start the executors.

        Never raises for a bad bundle: ``state`` becomes ``failed`` and ``reason`` says why.
        """
        try:
            sessions, stages = await asyncio.to_thread(self._open)
        except EngramError as error:
            self.fail(error.message)
        except Exception:
            logger.exception("loading %s:%d", self.name, self.version)
            self.fail("an unexpected error came up while loading; the log has it")
        else:
            self._start(sessions, stages)
            self.state = "ready"
            logger.info("%s:%d is ready: %s on %s", self.name, self.version, self.runtime, self.device)

    def fail(self, reason: str) -> None:
        """Mark the model as failed."""
        self.state, self.reason = "failed", reason
        logger.error("%s:%d is not ready: %s", self.name, self.version, reason)

    async def answer(
        self,
        request: Any,
        deadline: float | None,
        priority: Priority = Priority.INTERACTIVE,
        on_events: OnEvents | None = None,
    ) -> tuple[Any, Run]:
        """Prepare, run and interpret one request of this model's task, or walk it step by step.

        Args:
            request: an instance of ``task.Request``.
            deadline: in seconds on ``time.monotonic``; ``None`` sets none.
            priority: who goes first.
            on_events: called with what each step has to tell, where the task tells anything on its way.

        Raises:
            EngramError: an ``InputError``, ``ModelNotReady``, or what the run of a queue raises.
        """
        task, bundle, batcher = self.task, self.bundle, self._batcher
        if self.state != "ready" or task is None or bundle is None or batcher is None:
            raise self.not_ready()
        with self.statistics.request():
            if self._decoder is not None:
                return await self._walk(self._decoder, request, deadline, priority, on_events)
            batcher.require_room(deadline, priority)
            with step("prepare"):
                prepared = task.prepare(request, bundle)
            run = await batcher.run(prepared.arrays, prepared.outputs, deadline, priority)
            self._note([run], priority)
            with step("interpret"):
                return cast(SingleRunTask, task).interpret(run.outputs, prepared, bundle), run

    async def _walk(
        self,
        decoder: Decoder,
        request: Any,
        deadline: float | None,
        priority: Priority,
        on_events: OnEvents | None,
    ) -> tuple[Any, Run]:
        decoder.require_room(deadline, priority)
        assert self.task is not None
        assert self.bundle is not None
        if self._parted is not None:
            began = time.monotonic()
            with self._visitors:  # parts that do not wait yet are accepted too
                answer, runs = await walk_parts(
                    self._parted,
                    self.bundle,
                    decoder,
                    request,
                    deadline=deadline,
                    priority=priority,
                    on_events=on_events,
                )
            if runs:
                self._note(runs, priority)
            return answer, whole_run(runs, began)
        with step("prepare"):
            prepared = self.task.prepare(request, self.bundle)
        answered = await decoder.run(prepared, deadline, on_events, priority)
        self._note([answered.run], priority)
        return answered.answer, answered.run

    async def run(
        self,
        arrays: Arrays,
        outputs: Sequence[str],
        deadline: float | None,
        priority: Priority = Priority.INTERACTIVE,
    ) -> dict[str, Array]:
        """Run the whole graph on raw arrays, which may be joined with other requests like any row.

        Args:
            arrays: every input of the manifest, batch axis first, padded by the caller.
            outputs: the outputs wanted.
            deadline: in seconds on ``time.monotonic``; ``None`` sets none.
            priority: who goes first.

        Returns:
            The outputs, batch axis first.

        Raises:
            EngramError: an ``InputError``, ``ModelNotReady``, or what ``Batcher.run`` raises.
        """
        bundle, batcher = self.bundle, self._batcher
        if self.state != "ready" or bundle is None or batcher is None:
            raise self.not_ready()
        with self._visitors, self.statistics.request():
            count = check_batch(bundle, arrays, outputs, self.options.max_batch_size)
            rows = cut(arrays, count)
            runs = await together(batcher.run(row, outputs, deadline, priority) for row in rows)
            self._note(runs, priority)
            return stack([run.outputs for run in runs])

    def _note(self, runs: Sequence[Run], priority: Priority) -> None:
        """Take note of the runs of one request's rows, in the statistics and in its trace."""
        slowest = runs[0] if len(runs) == 1 else max(runs, key=lambda run: run.queue_ms + run.compute_ms)
        self.statistics.answered(runs, priority.label)
        ran(slowest.queue_ms, slowest.compute_ms, slowest.batch_size)

    def not_ready(self) -> ModelNotReady:
        """Make the error for a request that comes while this model cannot answer."""
        why = f": {self.reason}" if self.reason else ""
        return ModelNotReady(
            f"model {self.name}:{self.version} is {self.state}{why}",
            model=self.name,
            version=self.version,
            state=self.state,
        )

    def describe(self) -> dict[str, Any]:
        """Return what ``GET /v1/models/{name}`` tells about this version: plain JSON values."""
        about = {
            "name": self.name,
            "version": self.version,
            "state": self.state,
            "reason": self.reason,
            "runtime": self.runtime,
            "device": self.device,
        }
        if self.bundle is None:
            return about
        told = {"task", "family", "description", "selector", "default", "limits", "languages", "metrics"}
        manifest = self.bundle.manifest.model_dump(
            mode="json", include=told | {"data", "training", "answers"}
        )
        return about | manifest | {"parity": self._parity}

    async def drain(self) -> None:
        """Refuse new requests and wait until the accepted ones are answered."""
        await asyncio.gather(*(queue.drain() for queue in self._queues()))

    async def close(self) -> None:
        """Free threads and memory; the state becomes ``unloaded``."""
        self.state = "unloaded"
        queues, self._batcher, self._decoder = self._queues(), None, None
        for queue in queues:
            await queue.close()

    async def retire(self) -> None:
        """Answer the requests that have found this model, then close it. Take it out of every table first."""
        await asyncio.sleep(LATECOMERS_S)
        while self._visitors.count:  # noqa: ASYNC110 - an event would cost every request something
            await asyncio.sleep(0.01)
        await self.close()
        look_again()

    def remains(self) -> LoadedModel:
        """Return what a table shows of this model once it is unloaded: what it was, without its sessions."""
        remains = LoadedModel(self._folder, self.version, self.options, self._open_session)
        remains.state = "unloaded"
        remains.statistics = self.statistics
        remains.bundle, remains.task, remains._parity = self.bundle, self.task, self._parity
        return remains

    def _queues(self) -> list[Batcher | Decoder]:
        return [queue for queue in (self._batcher, self._decoder) if queue is not None]

    def _start(self, sessions: Sequence[Session], stages: Sequence[StageSessions]) -> None:
        """Start the executors, on the event loop."""
        task, bundle, opening, statistics = self.task, self.bundle, self._opening, self.statistics
        assert bundle is not None
        assert opening is not None
        self._batcher = Batcher(
            sessions, bundle.manifest.signature, self.options, statistics=statistics, renew=opening.session
        )
        if isinstance(task, StepwiseTask):
            self._decoder = Decoder(
                stages, task, bundle, self.options, statistics=statistics, renew=opening.stages
            )
            self._parted = task if isinstance(task, PartedTask) else None

    def _open(self) -> tuple[list[Session], list[StageSessions]]:
        """Open the bundle and verified sessions for the executors."""
        self.bundle = bundle = Bundle.open(self._folder, self.version)
        manifest = bundle.manifest
        self.task = TASKS[manifest.task](self.options.max_attention_weights)
        stepwise = isinstance(self.task, StepwiseTask)
        if stepwise != bool(manifest.stages):
            raise BundleError(f"task {manifest.task} {'needs' if stepwise else 'knows no'} stages")
        self.task.check(bundle)
        if "parity" in manifest.graphs:
            self._parity = json.loads(bundle.read(bundle.file("parity")))
        self._opening = Opening(bundle, self.options, self._open_session)
        sessions, stages = self._opening.everything()
        self.runtime, self.device = sessions[0].runtime, sessions[0].device
        return sessions, stages
