"""The blocking client."""

from __future__ import annotations

import copy
import random as chance
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx2

from engram import calls, completing, computing, pointing, reading
from engram.batches_client import Batches
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
from engram.translating_client import TranslatingClient

E = TypeVar("E")
T = TypeVar("T")


class Client(TranslatingClient):
    """Asks an Engram server and waits for the answer. Threads may share one.

    >>> with Client() as client:
    ...     answer = client.ask(["John took the milk.", "John went to the garden."], "Where is the milk?")
    ...     print(answer, answer.attention.weights)

    Args:
        url: Where the server is; ``ENGRAM_URL`` or ``http://127.0.0.1:8000`` otherwise.
        api_key: Sent as ``Authorization: Bearer``; ``ENGRAM_API_KEY`` otherwise.
        timeout: Seconds for a whole call, retries included; the server is told what is left of it.
        retries: How often to ask again after a lost connection or a status 429, 502, 503 or 504.
        headers: Extra headers for every request.
        transport: What carries requests, instead of the network (tests, ASGI apps).
        limits: Size of the connection pool.
        sleep: Waits so many seconds between attempts.
        clock: Tells monotonic seconds.
        random: Returns a number in [0, 1), for the jitter of the waits.

    Raises:
        ConfigurationError: The URL, the key or the timeout cannot be used.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout: float = DEFAULT_TIMEOUT_S,
        retries: int = DEFAULT_RETRIES,
        headers: Mapping[str, str] | None = None,
        transport: httpx2.BaseTransport | None = None,
        limits: httpx2.Limits | None = None,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = chance.random,
    ) -> None:
        options = Options.from_environment(url, api_key, timeout, retries, headers)
        self._core = Core(options, clock, random)
        self._sleep = sleep
        self._http = httpx2.Client(transport=transport, limits=limits or POOL)

    def ask(
        self,
        story: str | Sequence[str],
        question: str,
        *,
        timeout: float | None = None,
        **options: Unpack[QaOptions],
    ) -> Answer:
        """Ask a question about a story.

        Args:
            story: Sentences in order, or one text that the server splits.
            question: The question.
            timeout: Seconds for this call instead of the client's.
            **options: See ``QaOptions``.

        Raises:
            EngramError: See ``engram.errors`` for the tree.
        """
        request: QaRequest = {"story": story, "question": question, **options}
        return self._perform(self._core.ask(request, timeout))

    def ask_many(
        self, requests: Iterable[QaRequest], *, timeout: float | None = None
    ) -> list[Answer | ItemError]:
        """Ask many questions, up to 1,024 in one HTTP request.

        Results are in the order of the requests, and a bad item spoils only itself: its place has an
        ``ItemError``. ``timeout`` is for each HTTP request.
        """
        return self._perform(self._core.ask_many(list(requests), timeout))

    def picture(
        self,
        story: str | Sequence[str],
        question: str,
        *,
        format: PictureFormat = "svg",
        timeout: float | None = None,
        **options: Unpack[QaOptions],
    ) -> bytes:
        """Ask a question and return the heat map of its attention."""
        request: QaRequest = {"story": story, "question": question, **options}
        return self._perform(self._core.picture(request, format, timeout))

    def read(
        self,
        document: str,
        question: str,
        *,
        timeout: float | None = None,
        **options: Unpack[ReadOptions],
    ) -> ReadAnswer:
        """Ask a question about a document; the answer is a word of it.

        Args:
            document: Running text.
            question: A sentence with ``@placeholder`` where a word is missing, or a plain question.
            timeout: Seconds for this call instead of the client's.
            **options: See ``ReadOptions``.

        Raises:
            EngramError: See ``engram.errors`` for the tree.
        """
        request: ReadRequest = {"document": document, "question": question, **options}
        return self._perform(self._core.run(reading.read(request), timeout))

    def read_many(
        self,
        requests: Iterable[ReadRequest],
        *,
        timeout: float | None = None,
    ) -> list[ReadAnswer | ItemError]:
        """Ask many questions about documents, in order; a bad item spoils only itself (``ItemError``)."""
        return self._perform(self._core.many(reading.read_batch, list(requests), timeout))

    def read_picture(
        self,
        document: str,
        question: str,
        *,
        format: PictureFormat = "svg",
        timeout: float | None = None,
        **options: Unpack[ReadOptions],
    ) -> bytes:
        """Ask about a document and return it drawn, its words shaded by their attention."""
        request: ReadRequest = {"document": document, "question": question, **options}
        return self._perform(self._core.run(reading.read_picture(request, format), timeout))

    def point(
        self,
        points: Points,
        task: PointTask,
        *,
        timeout: float | None = None,
        **options: Unpack[PointOptions],
    ) -> PointAnswer:
        """Find the convex hull, a Delaunay triangulation or a short round trip of points.

        Args:
            points: ``(x, y)`` of each, at any scale.
            task: ``"convex_hull"``, ``"delaunay"`` or ``"tour"``.
            timeout: Seconds for this call instead of the client's.
            **options: See ``PointOptions``.

        Raises:
            EngramError: See ``engram.errors`` for the tree.
        """
        request: PointRequest = {"points": points, "task": task, **options}
        return self._perform(self._core.run(pointing.point(request), timeout))

    def point_many(
        self,
        requests: Iterable[PointRequest],
        *,
        timeout: float | None = None,
    ) -> list[PointAnswer | ItemError]:
        """Find something among many sets of points, in order; a bad item spoils only itself."""
        return self._perform(self._core.many(pointing.point_batch, list(requests), timeout))

    def point_picture(
        self,
        points: Points,
        task: PointTask,
        *,
        format: PictureFormat = "svg",
        timeout: float | None = None,
        **options: Unpack[PointOptions],
    ) -> bytes:
        """Find something among points and return it drawn: arrows in the plane, beside the attention."""
        request: PointRequest = {"points": points, "task": task, **options}
        return self._perform(self._core.run(pointing.point_picture(request, format), timeout))

    def compute(
        self,
        operation: Operation,
        *operands: str,
        timeout: float | None = None,
        **options: Unpack[ComputeOptions],
    ) -> ComputeAnswer:
        """Let a network compute with digits.

        Args:
            operation: What to compute.
            *operands: Strings of digits, most significant first: two numbers, or one sequence.
            timeout: Seconds for this call instead of the client's.
            **options: See ``ComputeOptions``.

        Raises:
            EngramError: See ``engram.errors`` for the tree.
        """
        request: ComputeRequest = {"operation": operation, "operands": operands, **options}
        return self._perform(self._core.run(computing.compute(request), timeout))

    def complete(
        self,
        text: str,
        *,
        timeout: float | None = None,
        **options: Unpack[CompleteOptions],
    ) -> Completion:
        """Let a language model go on with a text.

        Args:
            text: What has been written so far; with ``state``, only what is new.
            timeout: Seconds for this call instead of the client's.
            **options: See ``CompleteOptions``.

        Raises:
            EngramError: See ``engram.errors`` for the tree.
        """
        request: CompleteRequest = {"text": text, **options}
        return self._perform(self._core.run(completing.complete(request), timeout))

    def complete_stream(
        self,
        text: str,
        *,
        timeout: float | None = None,
        **options: Unpack[CompleteOptions],
    ) -> Iterator[WrittenWord | Completion]:
        """Let a language model go on with a text, and get each word as it is written.

        Yields:
            Words as they come, and at last the whole ``Completion``. Leaving the loop ends the request.

        Raises:
            EngramError: See ``engram.errors`` for the tree; nothing is tried again.
        """
        request: CompleteRequest = {"text": text, **options}
        return self._stream(completing.complete_stream(request), timeout)

    def complete_many(
        self,
        requests: Iterable[CompleteRequest],
        *,
        timeout: float | None = None,
    ) -> list[Completion | ItemError]:
        """Let a language model go on with many texts, in order; see ``ask_many``."""
        many = self._core.many(completing.complete_batch, list(requests), timeout)
        return self._perform(many)

    def complete_picture(
        self,
        text: str,
        *,
        format: PictureFormat = "svg",
        timeout: float | None = None,
        **options: Unpack[CompleteOptions],
    ) -> bytes:
        """Let a language model go on with a text, and return the picture of its pointer."""
        request: CompleteRequest = {"text": text, **options}
        return self._perform(self._core.run(completing.complete_picture(request, format), timeout))

    @property
    def batches(self) -> Batches:
        """Batches that outlive the connection: submit, watch, read results, cancel."""
        return Batches(self._core, self._perform, self._http, self._sleep)

    def models(self) -> list[Model]:
        """List the server's models."""
        return self._perform(self._core.run(calls.models()))

    def model(self, name: str) -> Model:
        """Describe one model."""
        return self._perform(self._core.run(calls.model(name)))

    def vocabulary(self, name: str) -> list[str]:
        """List the words a word-level model knows."""
        return self._perform(self._core.run(calls.vocabulary(name)))

    def is_live(self) -> bool:
        """Say whether a server runs at the URL."""
        return self._perform(self._core.probe("live"))

    def is_ready(self) -> bool:
        """Say whether the server answers with its models."""
        return self._perform(self._core.probe("ready"))

    def with_options(self, **changes: Unpack[OptionChanges]) -> Self:
        """Return a client with other ``url``, ``api_key``, ``timeout``, ``retries`` or ``headers``.

        It shares this client's connections; closing either closes them.
        """
        other = copy.copy(self)
        other._core = replace(self._core, options=replace(self._core.options, **changes))
        return other

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._core.options.public_url!r})"

    def _perform(self, steps: Steps[T]) -> T:
        """Perform steps one after another and return what they come to."""
        outcome: Outcome = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as done:
                result: T = done.value
                return result
            if isinstance(step, Send):
                outcome = self._send(step)
            else:
                self._sleep(step.seconds)
                outcome = None

    def _send(self, step: Send) -> Reply | httpx2.RequestError:
        try:
            response = self._http.send(step.request, stream=True)
            try:
                return Reply(response.status_code, response.headers, self._read(response, step.give_up_at))
            finally:
                response.close()
        except httpx2.RequestError as error:
            return error

    def _read(self, response: httpx2.Response, give_up_at: float) -> bytes:
        """Read a body that must be whole in time, however slowly it drips."""
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if self._core.clock() > give_up_at:
                raise httpx2.ReadTimeout("the body came too slowly", request=response.request)
        return bytes(body)

    def _stream(self, stream: Stream[E, T], timeout: float | None) -> Iterator[E | T]:
        """Send a call once and yield its events as they arrive, and its answer at last."""
        attempt = self._core.once(stream.call, timeout)
        try:
            response = self._http.send(attempt.send.request, stream=True)
            try:
                if response.status_code != httpx2.codes.OK:
                    body = self._read(response, attempt.send.give_up_at)
                    raise attempt.failure(Reply(response.status_code, response.headers, body))
                reader = EventReader(stream, response.headers)
                for chunk in response.iter_bytes():
                    yield from reader.feed(chunk)
                    if self._core.clock() > attempt.send.give_up_at:
                        raise httpx2.ReadTimeout("the events came too slowly", request=attempt.send.request)
                reader.finish(attempt.request_id)
            finally:
                response.close()
        except httpx2.RequestError as error:
            raise attempt.failure(error) from error
