"""``/v1/batches``: submit, list, watch, read results and cancel; a key sees its own batches only."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from functools import partial
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from server.api.batches.forms import BatchList, status_of_batch
from server.api.batches.upload import chunks_of
from server.api.decoding import LONGEST_ECHO, invalid_field
from server.api.exchange import Exchange, exchange_of
from server.api.http_errors import NotFound, Unsupported
from server.api.lifecycle import Lifecycle
from server.api.negotiation import JSON, accepted, json_response
from server.batches.records import Line, NoSuchBatch, Sender
from server.batches.service import Batches
from server.errors import InvalidRequest, Overloaded
from server.settings import Settings, variable

NDJSON = "application/x-ndjson"

MOST_UPLOADS = 8
"""Bodies that one process receives at the same time, so that their memory is bounded."""

LISTED, MOST_LISTED = 100, 1000
"""Batches in one list: usually, and at most."""

LONGEST_ID = 64
"""Characters of a batch's id."""

LARGEST_OFFSET = 2**53
"""Beyond it not every whole number survives JSON."""

ReadPage = Callable[[int], Awaitable[Sequence[Line]]]
"""Returns results from a line on."""

_IDEMPOTENCY_KEY = re.compile(rb"[\x21-\x7e]{1,255}")


class BatchesApi:
    """What the routes share. Where batches are off, ``batches`` is ``None`` and every route says so."""

    def __init__(
        self, batches: Batches | None, tasks: Collection[str], lifecycle: Lifecycle, settings: Settings
    ) -> None:
        self._batches = batches
        self._tasks = tasks
        self._lifecycle = lifecycle
        self._settings = settings
        self._uploads = 0

    @property
    def batches(self) -> Batches:
        """The batches.

        Raises:
            Unsupported: they are off.
        """
        if self._batches is None:
            raise Unsupported(f"this server keeps no batches ({variable('batches')})")
        return self._batches

    async def collection(self, request: Request) -> Response:
        """Answer ``GET`` and ``POST /v1/batches``."""
        return await (self._submit(request) if request.method == "POST" else self._list(request))

    async def one(self, request: Request) -> Response:
        """Answer ``GET`` and ``DELETE /v1/batches/{id}``."""
        batches = self.batches
        work = batches.cancel if request.method == "DELETE" else batches.get
        try:
            return json_response(request.scope, status_of_batch(await work(_owner(request), _id(request))))
        except NoSuchBatch:
            raise _no_such_batch() from None

    async def results(self, request: Request) -> Response:
        """Answer ``GET /v1/batches/{id}/results``: the results so far, a line each, as they are read."""
        accepted(exchange_of(request.scope).headers, (NDJSON,))
        offset = _number(request, "offset", 0, LARGEST_OFFSET)
        read = partial(self.batches.results, _owner(request), _id(request))
        try:
            first = await read(offset)
        except NoSuchBatch:
            raise _no_such_batch() from None
        headers = {"Cache-Control": "no-store"}
        return StreamingResponse(_bodies(first, read), media_type=NDJSON, headers=headers)

    async def _submit(self, request: Request) -> Response:
        batches, exchange = self.batches, exchange_of(request.scope)
        self._lifecycle.require_open()
        accepted(exchange.headers, (JSON,))
        task = request.query_params.get("task", "")
        if task not in self._tasks:
            expected = ", ".join(self._tasks)
            raise invalid_field("task", f"is {task[:LONGEST_ECHO]!r}, expected one of {expected}")
        sender = Sender(_owner(request), _idempotency_key(exchange))
        if self._uploads >= MOST_UPLOADS:
            raise Overloaded(f"{MOST_UPLOADS} batches are being received already", 5.0)
        self._uploads += 1
        try:
            most_bytes = self._settings.batch_max_bytes
            chunks = chunks_of(exchange, request.receive, self._lifecycle, most_bytes)
            batch = await batches.receive(sender, task, chunks)
        finally:
            self._uploads -= 1
        exchange.fields.update(batch=batch.id, lines=batch.total)
        response = json_response(request.scope, status_of_batch(batch))
        response.status_code = HTTPStatus.ACCEPTED
        response.headers["Location"] = f"/v1/batches/{batch.id}"
        return response

    async def _list(self, request: Request) -> Response:
        limit = _number(request, "limit", LISTED, MOST_LISTED)
        after = request.query_params.get("after")
        stranger = invalid_field("after", "is the id of none of your batches")
        if after is not None and not _may_be_id(after):
            raise stranger
        try:
            found = await self.batches.list(_owner(request), limit, after)
        except NoSuchBatch:
            raise stranger from None
        return json_response(request.scope, BatchList([status_of_batch(batch) for batch in found]))


def batch_routes(api: BatchesApi) -> list[Route]:
    """Return the routes below ``/v1/batches``."""
    return [
        Route("/v1/batches", api.collection, methods=["GET", "POST"]),
        Route("/v1/batches/{id}", api.one, methods=["GET", "DELETE"]),
        Route("/v1/batches/{id}/results", api.results, methods=["GET"]),
    ]


async def _bodies(page: Sequence[Line], read: ReadPage) -> AsyncIterator[bytes]:
    """Yield pages of results until there is none."""
    while page:
        yield b"".join(line.body + b"\n" for line in page)
        page = await read(page[-1].number + 1)


def _owner(request: Request) -> str:
    return exchange_of(request.scope).caller.identity


def _id(request: Request) -> str:
    """Return the id in the path; one that no batch has stands for all that cannot be one."""
    name: str = request.path_params["id"]
    return name if _may_be_id(name) else ""


def _may_be_id(name: str) -> bool:
    """Say whether a batch may have this id; PostgreSQL cannot even be asked for every text."""
    return name.isalnum() and name.isascii() and len(name) <= LONGEST_ID


def _number(request: Request, name: str, usual: int, most: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return usual
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and int(text) <= most):
        raise invalid_field(name, f"is {text[:LONGEST_ECHO]!r}, expected a whole number up to {most}")
    return int(text)


def _idempotency_key(exchange: Exchange) -> str | None:
    header = exchange.headers.get(b"idempotency-key")
    if header is None:
        return None
    if not _IDEMPOTENCY_KEY.fullmatch(header):
        raise InvalidRequest(
            "the header Idempotency-Key must have 1 to 255 visible characters", fields=["Idempotency-Key"]
        )
    return header.decode("ascii")


def _no_such_batch() -> NotFound:
    return NotFound("there is no such batch, or it is another key's")
