"""The asyncio client: the same calls as ``Client``, awaited."""

from __future__ import annotations

import asyncio
import copy
import random as chance
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx2

from engram import calls, completing, computing, pointing, reading
from engram.batches_client import AsyncBatches
from engram.calls import PictureFormat, QaOptions, QaRequest, Reply
from engram.completing import CompleteOptions, CompleteRequest, Completion, WrittenWord
from engram.computing import ComputeAnswer, ComputeOptions, ComputeRequest, Operation
from engram.core import Core
from engram.exchange import Outcome, Send, Steps
from engram.options import DEFAULT_RETRIES, DEFAULT_TIMEOUT_S, POOL, OptionChanges, Options
from engram.pointing import PointAnswer, PointOptions, PointRequest, Points, PointTask
from engram.reading import ReadAnswer, ReadOptions, ReadRequest
from engram.results import Answer, ItemError, Model
from engram.streaming import EventReader, Stream
from engram.translating_client import AsyncTranslatingClient

E = TypeVar("E")
T = TypeVar("T")


class AsyncClient(AsyncTranslatingClient):
    """Asks an Engram server from asyncio. Tasks of one event loop may share one.

    >>> async with AsyncClient() as client:
    ...     answer = await client.ask(["John took the milk."], "Who took the milk?")

    Arguments and errors are those of ``Client``; ``sleep`` is awaited.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout: float = DEFAULT_TIMEOUT_S,
        retries: int = DEFAULT_RETRIES,
        headers: Mapping[str, str] | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
        limits: httpx2.Limits | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = chance.random,
    ) -> None:
        options = Options.from_environment(url, api_key, timeout, retries, headers)
        self._core = Core(options, clock, random)
        self._sleep = sleep
        self._http = httpx2.AsyncClient(transport=transport, limits=limits or POOL)

    async def ask(
        self,
        story: str | Sequence[str],
        question: str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  it is the server's deadline too
        **options: Unpack[QaOptions],
    ) -> Answer:
        """Ask a question about a story; see ``Client.ask``."""
        request: QaRequest = {"story": story, "question": question, **options}
        return await self._perform(self._core.ask(request, timeout))

    async def ask_many(
        self,
        requests: Iterable[QaRequest],
        *,
        timeout: float | None = None,  # noqa: ASYNC109  it is the server's deadline too
    ) -> list[Answer | ItemError]:
        """Ask many questions, in order; see ``Client.ask_many``."""
        return await self._perform(self._core.ask_many(list(requests), timeout))

    async def picture(
        self,
        story: str | Sequence[str],
        question: str,
        *,
        format: PictureFormat = "svg",
        timeout: float | None = None,  # noqa: ASYNC109  it is the server's deadline too
        **options: Unpack[QaOptions],
    ) -> bytes:
        """Ask a question and return the heat map of its attention."""
        request: QaRequest = {"story": story, "question": question, **options}
        return await self._perform(self._core.picture(request, format, timeout))

    async def read(
        self,
        document: str,
        question: str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  it is the server's deadline too
        **options: Unpack[ReadOptions],
    ) -> ReadAnswer:
        """Ask a question about a document; see ``Client.read``."""
        request: ReadRequest = {"document": document, "question": question, **options}
        return await self._perform(self._core.run(reading.read(request), timeout))

    async def read_many(
        self,
        requests: Iterable[ReadRequest],
        *,
        timeout: float | None = None,  # noqa: ASYNC109  it is the server's deadline too
    ) -> list[ReadAnswer | ItemError]:
        """Ask many questions about documents; see ``Client.read_many``."""
        return await self._perform(self._core.many(reading.read_batch, list(requests), timeout))

    async def read_picture(
        self,
        document: str,
        question: str,
        *,
        format: PictureFormat = "svg",
        timeout: float | None = None,  # noqa: ASYNC109  it is the server's deadline too
        **options: Unpack[ReadOptions],
    ) -> bytes:
        """Ask about a document and return it drawn, its words shaded by their attention."""
        request: ReadRequest = {"document": document, "question": question, **options}
        return await self._perform(self._core.run(reading.read_picture(request, format), timeout))

    async def point(
        self,
        points: Points,
        task: PointTask,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  it is the server's deadline too
        **options: Unpack[PointOptions],
    ) -> PointAnswer:
        """Find a convex hull, a triangulation or a short round trip; see ``Client.point``."""
        request: PointRequest = {"points": points, "task": task, **options}
        return await self._perform(self._core.run(pointing.point(request), timeout))

    async def point_many(
        self,
        requests: Iterable[PointRequest],
        *,
        timeout: float | None = None,  # noqa: ASYNC109  it is the server's deadline too
    ) -> list[PointAnswer | ItemError]:
        """Find something among many sets of points, in order; a bad item spoils only itself."""
        return await self._perform(self._core.many(pointing.point_batch, list(requests), timeout))

    async def point_picture(
        self,
        points: Points,
        task: PointTask,
        *,
        format: PictureFormat = "svg",
        timeout: float | None = None,  # noqa: ASYNC109  it is the server's deadline too
        **options: Unpack[PointOptions],
    ) -> bytes:
        """Find something among points and return it drawn: arrows in the plane, beside the attention."""
        request: PointRequest = {"points": points, "task": task, **options}
        return await self._perform(self._core.run(pointing.point_picture(request, format), timeout))

    async def compute(
        self,
        operation: Operation,
        *operands: str,
        timeout: float | None = None,  # noqa: ASYNC109  it is the server's deadline too
        **options: Unpack[ComputeOptions],
    ) -> ComputeAnswer:
        """Let a network compute with digits; see ``Client.compute``."""
        request: ComputeRequest = {"operation": operation, "operands": operands, **options}
        return await self._perform(self._core.run(computing.compute(request), timeout))

    async def complete(
        self,
        text: str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  it is the server's deadline too
        **options: Unpack[CompleteOptions],
    ) -> Completion:
        """Let a language model go on with a text; see ``Client.complete``."""
        request: CompleteRequest = {"text": text, **options}
        return await self._perform(self._core.run(completing.complete(request), timeout))

    def complete_stream(
        self,
        text: str,
        *,
        timeout: float | None = None,
        **options: Unpack[CompleteOptions],
    ) -> AsyncIterator[WrittenWord | Completion]:
        """Let a language model go on with a text, word by word; see ``Client.complete_stream``."""
        request: CompleteRequest = {"text": text, **options}
        return self._stream(completing.complete_stream(request), timeout)

    async def complete_many(
        self,
        requests: Iterable[CompleteRequest],
        *,
        timeout: float | None = None,  # noqa: ASYNC109  it is the server's deadline too
    ) -> list[Completion | ItemError]:
        """Let a language model go on with many texts, in order; see ``Client.ask_many``."""
        many = self._core.many(completing.complete_batch, list(requests), timeout)
        return await self._perform(many)

    async def complete_picture(
        self,
        text: str,
        *,
        format: PictureFormat = "svg",
        timeout: float | None = None,  # noqa: ASYNC109  it is the server's deadline too
        **options: Unpack[CompleteOptions],
    ) -> bytes:
        """Let a language model go on with a text, and return the picture of its pointer."""
        request: CompleteRequest = {"text": text, **options}
        return await self._perform(self._core.run(completing.complete_picture(request, format), timeout))

    @property
    def batches(self) -> AsyncBatches:
        """Batches that outlive the connection: submit, watch, read results, cancel."""
        return AsyncBatches(self._core, self._perform, self._http, self._sleep)

    async def models(self) -> list[Model]:
        """List the server's models."""
        return await self._perform(self._core.run(calls.models()))

    async def model(self, name: str) -> Model:
        """Describe one model."""
        return await self._perform(self._core.run(calls.model(name)))

    async def vocabulary(self, name: str) -> list[str]:
        """List the words a word-level model knows."""
        return await self._perform(self._core.run(calls.vocabulary(name)))

    async def is_live(self) -> bool:
        """Say whether a server runs at the URL."""
        return await self._perform(self._core.probe("live"))

    async def is_ready(self) -> bool:
        """Say whether the server answers with its models."""
        return await self._perform(self._core.probe("ready"))

    def with_options(self, **changes: Unpack[OptionChanges]) -> Self:
        """Return a client with other options that shares the connections; see ``Client.with_options``."""
        other = copy.copy(self)
        other._core = replace(self._core, options=replace(self._core.options, **changes))
        return other

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._core.options.public_url!r})"

    async def _perform(self, steps: Steps[T]) -> T:
        """Perform steps one after another and return what they come to."""
        outcome: Outcome = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as done:
                result: T = done.value
                return result
            if isinstance(step, Send):
                outcome = await self._send(step)
            else:
                await self._sleep(step.seconds)
                outcome = None

    async def _send(self, step: Send) -> Reply | httpx2.RequestError:
        try:
            async with asyncio.timeout(step.give_up_at - self._core.clock()):
                response = await self._http.send(step.request)
        except TimeoutError:
            return httpx2.ReadTimeout("the answer came too slowly", request=step.request)
        except httpx2.RequestError as error:
            return error
        return Reply(response.status_code, response.headers, response.content)

    async def _stream(self, stream: Stream[E, T], timeout: float | None) -> AsyncIterator[E | T]:  # noqa: ASYNC109
        """Send a call once and yield its events as they arrive, and its answer at last."""
        attempt = self._core.once(stream.call, timeout)
        try:
            response = await self._http.send(attempt.send.request, stream=True)
            try:
                if response.status_code != httpx2.codes.OK:
                    body = await response.aread()
                    raise attempt.failure(Reply(response.status_code, response.headers, body))
                reader = EventReader(stream, response.headers)
                async for chunk in response.aiter_bytes():
                    for event in reader.feed(chunk):
                        yield event
                    if self._core.clock() > attempt.send.give_up_at:
                        raise httpx2.ReadTimeout("the events came too slowly", request=attempt.send.request)
                reader.finish(attempt.request_id)
            finally:
                await response.aclose()
        except httpx2.RequestError as error:
            raise attempt.failure(error) from error
