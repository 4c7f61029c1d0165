"""``POST /v1/{task}`` and ``/v1/{task}/batch``: the hot path, the same code for every task.

An endpoint is plain ASGI: it reads the body, finds the model, awaits the answer and writes bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import msgspec
from starlette.types import Receive, Scope, Send

from server.api.body import BodyLimits, read_body
from server.api.deadlines import due
from server.api.decoding import check_depth, decode, invalid_field
from server.api.disconnect import while_connected
from server.api.error_handlers import ErrorBody, error_body
from server.api.exchange import Exchange, exchange_of
from server.api.lifecycle import Lifecycle
from server.api.negotiation import JSON, accepted
from server.api.pictures import PICTURES, draw
from server.api.streaming import EVENT_STREAM, EventStream
from server.api.urgency import priority_of
from server.contract.attention import encode_array
from server.errors import InputError
from server.runtime.executor import Run
from server.runtime.lines import Priority
from server.runtime.loaded_model import LoadedModel
from server.runtime.repository import Repository
from server.runtime.stepwise.executor import OnEvents
from server.settings import Settings
from server.tasks import Task
from server.tasks.stepwise import events_of

T = TypeVar("T")


class ModelReference(msgspec.Struct, frozen=True):
    """Which model and version answered."""

    name: str
    version: int


class Timing(msgspec.Struct, frozen=True):
    """Milliseconds in the queue, in the graph, and from the request's arrival to its answer."""

    queue: float
    compute: float
    total: float


class BatchRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Many requests at once; each is read on its own, so that a bad one spoils only itself."""

    requests: list[msgspec.Raw]


class BatchResponse(msgspec.Struct, frozen=True):
    """One result for each request, in order."""

    results: list[msgspec.Raw]


class ItemError(msgspec.Struct, frozen=True):
    """The result of an item that could not be answered."""

    error: ErrorBody


_encode = msgspec.json.Encoder(enc_hook=encode_array).encode
_encode_error = msgspec.json.Encoder(enc_hook=str).encode
_BATCH_DECODER = msgspec.json.Decoder(BatchRequest)


@dataclass(frozen=True, slots=True)
class TaskService:
    """What both endpoints of a task share: from a decoded request to a named, timed answer."""

    task: Task
    repository: Repository
    settings: Settings
    lifecycle: Lifecycle

    async def body(self, exchange: Exchange, receive: Receive) -> bytes:
        """Return the request's body, unless the server is stopping."""
        self.lifecycle.require_open()
        limits = BodyLimits(self.settings.max_body_bytes, self.settings.max_decompressed_bytes)
        return await read_body(exchange, receive, limits, self.deadline(exchange))

    async def decode(self, decoder: msgspec.json.Decoder[T], body: bytes) -> T:
        """Return the body as the decoder's type, unless it is nested too deeply."""
        await check_depth(body, self.settings.max_json_depth)
        return decode(decoder, body)

    def deadline(self, exchange: Exchange, timeout_ms: float | None = None) -> float:
        """Return when the answer is due on ``time.monotonic``: the smallest of setting, header and field."""
        return due(exchange, self.settings.timeout_ms, timeout_ms)

    async def answer(
        self,
        request: Any,
        exchange: Exchange,
        usual: Priority = Priority.INTERACTIVE,
        on_events: OnEvents | None = None,
    ) -> tuple[Any, Run, LoadedModel]:
        """Find the model and let it answer before the deadline, at the usual priority or the header's."""
        selector = {} if request.model else self.task.selector(request)
        model = self.repository.find(request.model, self.task.name, selector)
        deadline = self.deadline(exchange, request.timeout_ms)
        answer, run = await model.answer(request, deadline, priority_of(exchange, usual), on_events)
        return answer, run, model


class TaskEndpoint:
    """``POST /v1/{task}``: one request, one answer, as JSON or as a picture of its attention."""

    def __init__(self, service: TaskService) -> None:
        self._service = service
        self._decoder = msgspec.json.Decoder(service.task.Request)
        self._offered = (JSON, *PICTURES, *([EVENT_STREAM] if events_of(service.task) else []))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        exchange = exchange_of(scope)
        media_type = accepted(exchange.headers, self._offered)
        body = await self._service.body(exchange, receive)
        if media_type == EVENT_STREAM:
            stream = EventStream(exchange, send, self._service.deadline(exchange))
            await while_connected(stream.write(partial(self.reply, exchange, body)), scope, receive)
            return
        work = self.reply(exchange, body) if media_type == JSON else self._draw(exchange, body, media_type)
        await send_bytes(send, await while_connected(work, scope, receive), media_type)

    async def reply(self, exchange: Exchange, body: bytes, on_events: OnEvents | None = None) -> bytes:
        """Return the answer to a body as JSON, and tell what happens on the way to it."""
        request: Any = await self._service.decode(self._decoder, body)
        answer, run, model = await self._service.answer(request, exchange, on_events=on_events)
        _note(exchange, run, model)
        return answer_body(answer, run, model, exchange)

    async def _draw(self, exchange: Exchange, body: bytes, media_type: str) -> bytes:
        request: Any = await self._service.decode(self._decoder, body)
        request = msgspec.structs.replace(request, attention="full")
        answer, run, model = await self._service.answer(request, exchange)
        _note(exchange, run, model)
        return await asyncio.to_thread(draw, media_type, request, answer, f"{model.name}:{model.version}")


class BatchEndpoint:
    """``POST /v1/{task}/batch``: many requests, one result each, in order."""

    def __init__(self, service: TaskService) -> None:
        self._service = service
        self._decoder = msgspec.json.Decoder(service.task.Request)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer every item of one request."""
        exchange = exchange_of(scope)
        media_type = accepted(exchange.headers, (JSON,))
        work = self.reply(exchange, await self._service.body(exchange, receive))
        await send_bytes(send, await while_connected(work, scope, receive), media_type)

    async def reply(self, exchange: Exchange, body: bytes) -> bytes:
        """Return the answers to the requests of a body as JSON."""
        bodies = (await self._service.decode(_BATCH_DECODER, body)).requests
        self._check_items(len(bodies))
        requests = [self._decoded(one) for one in bodies]
        self._check_items(items := sum(map(items_of, requests)))
        results = await self._answer_all(requests, exchange)
        exchange.fields.update(items=items)
        return _encode(BatchResponse(results))

    def _check_items(self, items: int) -> None:
        most = self._service.settings.max_batch_items
        if not 1 <= items <= most:
            raise invalid_field("requests", f"has {items} items, expected 1 to {most}")

    def _decoded(self, body: msgspec.Raw) -> Any:
        """Return the request of an item, or the error that it is."""
        try:
            return decode(self._decoder, body)
        except InputError as error:
            return error

    async def _answer_all(self, requests: list[Any], exchange: Exchange) -> list[msgspec.Raw]:
        """Answer every item, a bounded number at a time, so that a batch leaves room for other clients."""
        results = [msgspec.Raw()] * len(requests)
        queue: Iterator[tuple[int, Any]] = iter(enumerate(requests))

        async def work() -> None:
            for index, request in queue:
                results[index] = msgspec.Raw(await self._answer_one(request, exchange))

        async with asyncio.TaskGroup() as group:
            for _ in range(min(len(requests), self._service.settings.batch_concurrency)):
                group.create_task(work())
        return results

    async def _answer_one(self, request: Any, exchange: Exchange) -> bytes:
        if isinstance(request, InputError):
            return error_item(request, exchange)
        try:
            answer, run, model = await self._service.answer(request, exchange, Priority.BATCH)
            return answer_body(answer, run, model, exchange)
        except Exception as error:
            return error_item(error, exchange)


def _note(exchange: Exchange, run: Run, model: LoadedModel) -> None:
    """Say in the log line who answered, and how."""
    exchange.fields.update(
        model=model.name,
        batch_size=run.batch_size,
        queue_ms=run.queue_ms,
        compute_ms=run.compute_ms,
    )


def answer_body(answer: Any, run: Run, model: LoadedModel, exchange: Exchange) -> bytes:
    """Encode an answer with what the envelope adds: model, timing, batch size."""
    return _encode(answer_fields(answer, run, model, exchange.elapsed_ms()))


def answer_fields(answer: Any, run: Run, model: LoadedModel, total_ms: float) -> dict[str, Any]:
    """Return the fields of an answer and of its envelope."""
    timing = Timing(round(run.queue_ms, 3), round(run.compute_ms, 3), round(total_ms, 3))
    fields = msgspec.structs.asdict(answer)
    fields.update(
        model=ModelReference(model.name, model.version), timing_ms=timing, batch_size=run.batch_size
    )
    return fields


def items_of(request: Any) -> int:
    """Return how many items of a batch a request counts for: as many as it has texts, say."""
    items: int = getattr(request, "items", 1)
    return items


def error_item(error: Exception, exchange: Exchange) -> bytes:
    """Encode what stands in the place of an answer that one of several requests does not have."""
    return _encode_error(ItemError(error_body(error, exchange.request_id)))


def answer_type(task: type[Task]) -> type[msgspec.Struct]:
    """Return the type ``answer_body`` encodes for a task: its answer's fields and the envelope's."""
    added = [("model", ModelReference), ("timing_ms", Timing), ("batch_size", int)]
    name = task.Answer.__name__.removesuffix("Answer") + "Response"
    return msgspec.defstruct(name, added, bases=(task.Answer,), kw_only=True, frozen=True)


async def send_bytes(send: Send, body: bytes, media_type: str) -> None:
    """Send a whole body as a success."""
    headers = [
        (b"content-type", media_type.encode("ascii")),
        (b"content-length", str(len(body)).encode("ascii")),
        (b"vary", b"Accept"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
