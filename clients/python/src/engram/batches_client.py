"""``client.batches``: submit, watch, read and cancel batches, with either client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import httpx2

from engram import batches
from engram.batches import Batch, BatchResult, Requests, ResultReader
from engram.calls import Call, Reply
from engram.core import Core
from engram.exchange import Steps
from engram.retry import backoff_s

T = TypeVar("T")

SUBMIT_TIMEOUT_S = 600.0
"""For a whole submission, its repeats included."""

POLL_S = 1.0
"""How often to ask for more while a batch runs."""


class Perform(Protocol):
    """Performs the steps of a call, and waits."""

    def __call__(self, steps: Steps[T]) -> T:
        """Return what they come to."""
        ...


class PerformAsync(Protocol):
    """Performs the steps of a call."""

    def __call__(self, steps: Steps[T]) -> Awaitable[T]:
        """Return what they come to."""
        ...


@dataclass(frozen=True)
class BatchCalls:
    """What both kinds of ``client.batches`` share."""

    core: Core

    def submit(self, call: Call[Batch], timeout: float) -> Steps[Batch]:
        """Send a batch, again if need be and if its requests can be read again."""
        repeatable = call.upload is not None and call.upload.is_repeatable
        retries = self.core.options.retries if repeatable else 0
        patient = replace(self.core, options=replace(self.core.options, retries=retries))
        return patient.run(call, timeout)

    def pause_s(self, failures: int, error: Exception) -> float:
        """Return how long to wait before results are asked for again.

        Raises:
            EngramError: It has failed too often without anything new.
        """
        if failures > self.core.options.retries:
            raise error
        return backoff_s(failures - 1, self.core.random)


class Batches:
    """Batches that outlive the connection: submit now, read results now or tomorrow.

    >>> batch = client.batches.submit("qa", [{"story": [...], "question": "Where is the milk?"}, ...])
    >>> for result in client.batches.results(batch.id):
    ...     print(result.index, result.answer or result.error)
    """

    def __init__(
        self, core: Core, perform: Perform, http: httpx2.Client, sleep: Callable[[float], object]
    ) -> None:
        self._calls = BatchCalls(core)
        self._core = core
        self._perform = perform
        self._http = http
        self._sleep = sleep

    def submit(
        self,
        task: str,
        requests: Requests,
        *,
        idempotency_key: str | None = None,
        timeout: float = SUBMIT_TIMEOUT_S,
    ) -> Batch:
        """Submit many requests of one task.

        Args:
            task: ``qa``, ``translate``, ``point``, ``read``, ``complete`` or ``compute``.
            requests: The path of a file with one JSON object a line, each with an ``id``; or the objects
                themselves, which get their place as ``id`` if they have none. Neither is read into memory.
            idempotency_key: A word for this submission: another one with the same word and the same requests
                answers the batch there is. Each call makes one of its own otherwise, for its repeats.
            timeout: Seconds for the whole call.

        Raises:
            EngramError: See ``engram.errors`` for the tree.
        """
        return self._perform(self._calls.submit(batches.submit(task, requests, idempotency_key), timeout))

    def get(self, batch_id: str) -> Batch:
        """Tell how far a batch is."""
        return self._perform(self._core.run(batches.get(batch_id)))

    def list(self, *, limit: int = 100, after: str | None = None) -> Sequence[Batch]:
        """List batches, the newest first; ``after`` is the id of the last one seen."""
        return self._perform(self._core.run(batches.list_batches(limit, after)))

    def cancel(self, batch_id: str) -> Batch:
        """Cancel a batch; what has a result keeps it."""
        return self._perform(self._core.run(batches.cancel(batch_id)))

    def watch(self, batch_id: str, *, interval: float = POLL_S) -> Iterator[Batch]:
        """Tell again and again how far a batch is, at last when it has ended."""
        while True:
            batch = self.get(batch_id)
            yield batch
            if not batch.is_open:
                return
            self._sleep(interval)

    def results(
        self, batch_id: str, *, offset: int = 0, wait: bool = True, interval: float = POLL_S
    ) -> Iterator[BatchResult]:
        """Yield results in the order of the lines, each once, as they come.

        Args:
            batch_id: Which batch.
            offset: The first line wanted, counted from 0: the number of results that are there already.
            wait: Go on until the batch has ended; otherwise stop where there are no more for now.
            interval: Seconds between two looks for more.

        Raises:
            EngramError: See ``engram.errors`` for the tree. A lost connection is taken up where it ended.
        """
        batch = self.get(batch_id)
        reader = ResultReader(batch.task, offset)
        while True:
            yield from self._read(batch_id, reader)
            if not (wait and batch.is_open):
                return
            self._sleep(interval)
            batch = self.get(batch_id)  # before the results: what ends after this is read the next time

    def _read(self, batch_id: str, reader: ResultReader) -> Iterator[BatchResult]:
        """Read to the end of what there is, in spite of lost connections."""
        failures = 0
        while True:
            seen = reader.offset
            attempt = self._core.once(batches.results(batch_id, reader.offset))
            reader.begin()
            try:
                response = self._http.send(attempt.send.request, stream=True)
                try:
                    if response.status_code != httpx2.codes.OK:
                        reply = Reply(response.status_code, response.headers, response.read())
                        raise attempt.failure(reply)
                    for chunk in response.iter_bytes():
                        yield from reader.feed(chunk)
                    return
                finally:
                    response.close()
            except httpx2.RequestError as error:
                failures = 1 if reader.offset > seen else failures + 1
                self._sleep(self._calls.pause_s(failures, attempt.failure(error)))


class AsyncBatches:
    """The same as ``Batches``, awaited."""

    def __init__(
        self,
        core: Core,
        perform: PerformAsync,
        http: httpx2.AsyncClient,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._calls = BatchCalls(core)
        self._core = core
        self._perform = perform
        self._http = http
        self._sleep = sleep

    async def submit(
        self,
        task: str,
        requests: Requests,
        *,
        idempotency_key: str | None = None,
        timeout: float = SUBMIT_TIMEOUT_S,  # noqa: ASYNC109  it is the server's deadline too
    ) -> Batch:
        """Submit many requests of one task; see ``Batches.submit``."""
        call = batches.submit(task, requests, idempotency_key)
        return await self._perform(self._calls.submit(call, timeout))

    async def get(self, batch_id: str) -> Batch:
        """Tell how far a batch is."""
        return await self._perform(self._core.run(batches.get(batch_id)))

    async def list(self, *, limit: int = 100, after: str | None = None) -> Sequence[Batch]:
        """List batches, the newest first; see ``Batches.list``."""
        return await self._perform(self._core.run(batches.list_batches(limit, after)))

    async def cancel(self, batch_id: str) -> Batch:
        """Cancel a batch; what has a result keeps it."""
        return await self._perform(self._core.run(batches.cancel(batch_id)))

    async def watch(self, batch_id: str, *, interval: float = POLL_S) -> AsyncIterator[Batch]:
        """Tell again and again how far a batch is, at last when it has ended."""
        while True:
            batch = await self.get(batch_id)
            yield batch
            if not batch.is_open:
                return
            await self._sleep(interval)

    async def results(
        self, batch_id: str, *, offset: int = 0, wait: bool = True, interval: float = POLL_S
    ) -> AsyncIterator[BatchResult]:
        """Yield results in the order of the lines, each once, as they come; see ``Batches.results``."""
        batch = await self.get(batch_id)
        reader = ResultReader(batch.task, offset)
        while True:
            async for result in self._read(batch_id, reader):
                yield result
            if not (wait and batch.is_open):
                return
            await self._sleep(interval)
            batch = await self.get(batch_id)

    async def _read(self, batch_id: str, reader: ResultReader) -> AsyncIterator[BatchResult]:
        failures = 0
        while True:
            seen = reader.offset
            attempt = self._core.once(batches.results(batch_id, reader.offset))
            reader.begin()
            try:
                response = await self._http.send(attempt.send.request, stream=True)
                try:
                    if response.status_code != httpx2.codes.OK:
                        reply = Reply(response.status_code, response.headers, await response.aread())
                        raise attempt.failure(reply)
                    async for chunk in response.aiter_bytes():
                        for result in reader.feed(chunk):
                            yield result
                    return
                finally:
                    await response.aclose()
            except httpx2.RequestError as error:
                failures = 1 if reader.offset > seen else failures + 1
                await self._sleep(self._calls.pause_s(failures, attempt.failure(error)))
