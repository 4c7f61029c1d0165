"""The hot path: a plain POST to a task is answered by its connection, past the messages and layers of ASGI.

``BoundedProtocol`` asks for an endpoint when the head of a request is there, and for the answer once the body
is. What is unusual in any way goes to the application, and a client cannot tell which way its request went.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from starlette.types import Scope

from server.api.disconnect import Departure
from server.api.error_handlers import error_response
from server.api.exchange import (
    CLIENT_GONE,
    THREAD_BYTES,
    Exchange,
    ExchangeMiddleware,
    Headers,
    exchange_of,
    squeezed,
)
from server.api.gate import Gate
from server.api.http_errors import ClientGone
from server.api.lifecycle import Lifecycle, Stage
from server.api.negotiation import JSON
from server.errors import ShuttingDown

UNUSUAL = frozenset({b"content-encoding", b"expect", b"transfer-encoding", b"upgrade"})
"""Headers whose requests the application answers: it knows every form a body can come in."""

PLAIN_TYPES = frozenset({b"", b"*/*", JSON.encode("ascii")})
"""What ``Accept`` may say: pictures and streams are the application's."""


class HotEndpoint(Protocol):
    """An endpoint with a short way to its answer."""

    async def reply(self, exchange: Exchange, body: bytes) -> bytes:
        """Return the answer to a body as JSON."""
        ...


class Reply(NamedTuple):
    """An answer on its way to the socket."""

    status: int
    headers: Headers
    body: bytes


class HotPath:
    """Answers plain requests as the application would: by the same gate, limits, errors, counts and logs."""

    def __init__(
        self,
        endpoints: Mapping[str, HotEndpoint],
        exchanges: ExchangeMiddleware,
        gate: Gate,
        lifecycle: Lifecycle,
        most_bytes: int,
    ) -> None:
        """Take what the application is made of.

        Args:
            endpoints: by their path.
            exchanges: what begins and ends every request.
            gate: what asks for keys.
            lifecycle: whether the server takes work as usual.
            most_bytes: of a body; what is larger is for the application to refuse.
        """
        self._endpoints = {path.encode("ascii"): endpoint for path, endpoint in endpoints.items()}
        self._exchanges = exchanges
        self._gate = gate
        self._lifecycle = lifecycle
        self._most_bytes = min(most_bytes, THREAD_BYTES)

    def endpoint_for(self, url: bytes, scope: Scope) -> HotEndpoint | None:
        """Return what answers a POST, whose exchange begins now; ``None`` leaves it to the application."""
        endpoint = self._endpoints.get(url)
        if endpoint is None or self._lifecycle.stage is not Stage.SERVING:
            return None
        exchange = Exchange(scope)
        headers = exchange.headers
        length = headers.get(b"content-length", b"")
        if not (
            length.isdigit()
            and 0 < int(length[:20]) <= self._most_bytes
            and headers.get(b"accept", b"") in PLAIN_TYPES
            and headers.keys().isdisjoint(UNUSUAL)
        ):
            return None
        scope["method"], scope["path"], scope["engram"] = "POST", url.decode("ascii"), exchange
        return endpoint

    async def answer(
        self, endpoint: HotEndpoint, scope: Scope, body: bytes, departure: Departure
    ) -> Reply | None:
        """Answer a request whose body is there; ``None`` if nobody is there any more.

        Run it in a task that the departure cancels.
        """
        exchange = exchange_of(scope)
        trace = self._exchanges.begin(scope, exchange)
        try:
            reply = await self._reply(endpoint, scope, body, departure)
            exchange.status = CLIENT_GONE if reply is None else reply.status
            return reply
        finally:
            self._exchanges.end(scope, exchange, trace)

    async def _reply(
        self, endpoint: HotEndpoint, scope: Scope, body: bytes, departure: Departure
    ) -> Reply | None:
        exchange = exchange_of(scope)
        if departure.gone:
            return None
        try:
            self._gate.check(scope)
            scope["endpoint"] = endpoint  # as the router has it: the metrics name the route by it
            return await self._success(exchange, await endpoint.reply(exchange, body))
        except (ClientGone, asyncio.CancelledError) as error:
            if departure.gone or isinstance(error, ClientGone):
                return None
            # The grace of a shutdown is over: the client still gets an answer it can act on.
            return _failure(scope, exchange, ShuttingDown("the server stopped before the answer was there"))
        except Exception as error:
            return _failure(scope, exchange, error)

    async def _success(self, exchange: Exchange, content: bytes) -> Reply:
        headers: Headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(content)),
            (b"vary", b"Accept"),
        ]
        if len(content) >= self._exchanges.gzip_min_bytes:
            headers, content = await squeezed(exchange, headers, content)
        headers.append((b"x-request-id", exchange.request_id.encode("ascii")))
        return Reply(200, headers, content)


def _failure(scope: Scope, exchange: Exchange, error: Exception) -> Reply:
    response = error_response(scope, error)
    headers = [*response.raw_headers, (b"x-request-id", exchange.request_id.encode("ascii"))]
    return Reply(response.status_code, headers, bytes(response.body))
