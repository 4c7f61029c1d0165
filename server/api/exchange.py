"""One HTTP request from arrival to last byte: its id, its log line, its compression, its worst case.

``ExchangeMiddleware`` is the outermost layer of our own and plain ASGI, because every request pays for it.
Handlers find the ``Exchange`` of their request with ``exchange_of(scope)``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
import zlib
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.api.error_handlers import error_response
from server.api.http_errors import ClientGone
from server.api.lifecycle import Lifecycle, Stage
from server.api.negotiation import takes_gzip
from server.api.security import ANONYMOUS, Caller
from server.errors import ShuttingDown
from server.logs import REQUEST_ID
from server.tracing import TRACE, Trace, Tracer

logger = logging.getLogger(__name__)

LONGEST_ID = 128
"""Characters of a client's ``X-Request-Id`` that are kept."""

LONGEST_PATH = 512
"""Characters of a path that are logged."""

CLIENT_GONE = 499
"""Logged as the status of a request whose client left (nginx's number for it); never sent."""

METRICS = "/metrics"
HEALTH = frozenset({"/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready"})
"""What probes ask, again and again, and without a key."""

THREAD_BYTES = 256 * 1024
"""From this size on, compression leaves the event loop."""

Headers = list[tuple[bytes, bytes]]
"""Names in lower case and values, in the order they are sent."""

_UNSAFE = re.compile(rb"[^A-Za-z0-9._:/+=@-]")
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_COMPRESSIBLE = (b"application/json", b"image/svg+xml", b"text/")


class Exchange:
    """One request: its id, headers, arrival and what its log line will say.

    Attributes:
        request_id: echoed from the client, cleaned and bounded, or made here.
        headers: the last value of each header, names in lower case.
        started: ``time.monotonic()`` at arrival; deadlines and totals count from it.
        caller: who asks; anonymous until a key was looked at.
        fields: what the handler adds to the log line.
        status: the status sent, 0 before it is.
        squeeze: whether the answer may be compressed on its way out.
    """

    __slots__ = ("caller", "fields", "headers", "request_id", "squeeze", "started", "status")

    def __init__(self, scope: Scope) -> None:
        self.started = time.monotonic()
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.request_id = clean_request_id(self.headers.get(b"x-request-id", b""))
        self.caller = ANONYMOUS
        self.fields: dict[str, Any] = {}
        self.status = 0
        self.squeeze = True

    def identified(self, caller: Caller) -> None:
        """Note whose key this is; the log names it."""
        self.caller = caller
        self.fields["key"] = caller.name

    def elapsed_ms(self) -> float:
        """Return the milliseconds since arrival."""
        return (time.monotonic() - self.started) * 1000


def exchange_of(scope: Scope) -> Exchange:
    """Return the exchange that ``ExchangeMiddleware`` put into the scope."""
    exchange: Exchange = scope["engram"]
    return exchange


class ExchangeMiddleware:
    """Give every request an id and a log line, every answer its gzip, every surprise an opaque 500."""

    def __init__(
        self,
        app: ASGIApp,
        lifecycle: Lifecycle,
        count: Callable[[Scope, int], str],
        gzip_min_bytes: int,
        tracer: Tracer | None = None,
    ) -> None:
        self.app = app
        self.count = count
        self.tracer = tracer
        self.lifecycle = lifecycle
        self.gzip_min_bytes = gzip_min_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; anything but HTTP passes through."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = scope["engram"] = scope.get("engram") or Exchange(
            scope
        )  # the connection may have begun it
        trace = self.begin(scope, exchange)
        sender = _Sender(send, exchange, self.gzip_min_bytes)
        if self.lifecycle.stage is not Stage.SERVING:
            sender.headers.append((b"connection", b"close"))  # so that clients move on before the port closes
        try:
            if "refusal" in scope:  # the connection is over a limit
                refused = error_response(scope, scope["refusal"], {"connection": "close"})
                await refused(scope, receive, sender)
                return
            await self._answer(scope, receive, sender, exchange)
        finally:
            self.end(scope, exchange, trace)
            REQUEST_ID.set(None)

    def begin(self, scope: Scope, exchange: Exchange) -> Trace | None:
        """Make the request known to the log lines on its way, and to its trace, if it has one."""
        REQUEST_ID.set(exchange.request_id)
        return self._trace(scope, exchange)

    def end(self, scope: Scope, exchange: Exchange, trace: Trace | None) -> None:
        """Count the request and log it."""
        route = self.count(scope, exchange.status)
        _log(scope, exchange)
        if trace is not None:
            _end(trace, scope, exchange, route)

    def _trace(self, scope: Scope, exchange: Exchange) -> Trace | None:
        """Begin a trace, save of probes and scrapers; where none are sent, log the id of the client's."""
        if self.tracer is None:
            if match := _TRACEPARENT.fullmatch(exchange.headers.get(b"traceparent", b"")):
                exchange.fields["trace_id"] = match[1].decode("ascii")
            return None
        if scope["path"] in HEALTH or scope["path"] == METRICS:
            return None
        trace = self.tracer.begin(exchange.headers)
        TRACE.set(trace)  # for this request's task, and for no other
        return trace

    async def _answer(self, scope: Scope, receive: Receive, sender: _Sender, exchange: Exchange) -> None:
        try:
            await self.app(scope, receive, sender)
        except ClientGone:
            exchange.status = exchange.status or CLIENT_GONE
        except asyncio.CancelledError:
            if exchange.status:
                raise
            # The grace of a shutdown is over: the client still gets an answer it can act on.
            error = ShuttingDown("the server stopped before the answer was there")
            await error_response(scope, error)(scope, receive, sender)
        except Exception as error:
            if exchange.status:
                raise
            await error_response(scope, error)(scope, receive, sender)


class _Sender:
    """Adds the request id to the head of an answer and compresses bodies that come in one piece."""

    __slots__ = ("exchange", "gzip_min_bytes", "head", "headers", "send")

    def __init__(self, send: Send, exchange: Exchange, gzip_min_bytes: int) -> None:
        self.send = send
        self.exchange = exchange
        self.gzip_min_bytes = gzip_min_bytes
        self.headers = [(b"x-request-id", exchange.request_id.encode("ascii"))]
        self.head: Message | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.exchange.status = message["status"]
            self.head = {**message, "headers": [*message.get("headers", ()), *self.headers]}
            return
        if self.head is not None:
            head, self.head = self.head, None
            whole = self.exchange.squeeze and not message.get("more_body", False)
            if whole and len(message.get("body", b"")) >= self.gzip_min_bytes:
                headers, body = await squeezed(self.exchange, head["headers"], message["body"])
                head, message = {**head, "headers": headers}, {**message, "body": body}
            await self.send(head)
        await self.send(message)


async def squeezed(exchange: Exchange, headers: Headers, body: bytes) -> tuple[Headers, bytes]:
    """Return the headers and the body to send: compressed, if the client takes that and it is worth it."""
    found = dict(headers)
    kind = found.get(b"content-type", b"")
    if not kind.startswith(_COMPRESSIBLE) or b"content-encoding" in found:
        return headers, body
    vary = [value for name, value in headers if name == b"vary"]
    found[b"vary"] = b", ".join([*vary, b"Accept-Encoding"])
    if takes_gzip(exchange.headers.get(b"accept-encoding", b"")):
        body = await asyncio.to_thread(_gzip, body) if len(body) >= THREAD_BYTES else _gzip(body)
        found[b"content-encoding"] = b"gzip"
        found[b"content-length"] = str(len(body)).encode("ascii")
    return list(found.items()), body


def _gzip(body: bytes) -> bytes:
    squeeze = zlib.compressobj(level=1, wbits=31)  # 31: a gzip header and trailer; level 1: speed first
    return squeeze.compress(body) + squeeze.flush()


def clean_request_id(header: bytes) -> str:
    """Return a client's request id without what is unsafe in logs and headers, or a new one."""
    return _UNSAFE.sub(b"", header[:LONGEST_ID]).decode("ascii") or os.urandom(12).hex()


def _end(trace: Trace, scope: Scope, exchange: Exchange, route: str) -> None:
    TRACE.set(None)
    trace.end(
        f"{scope['method']} {route}",
        {
            "http.request.method": scope["method"],
            "http.route": route,
            "http.response.status_code": exchange.status,
            "engram.request_id": exchange.request_id,
            "engram.model": exchange.fields.get("model", ""),
        },
        failed=exchange.status >= 500,
    )


def _log(scope: Scope, exchange: Exchange) -> None:
    if not logger.isEnabledFor(logging.INFO):
        return
    fields = {
        "method": scope["method"],
        "path": scope["path"][:LONGEST_PATH],
        "status": exchange.status,
        **exchange.fields,
        "total_ms": exchange.elapsed_ms(),
    }
    fields |= {name: round(value, 3) for name, value in fields.items() if isinstance(value, float)}
    # Made here because a logger would look up the calling line, which is always this one.
    level = {"levelno": logging.INFO, "levelname": "INFO"}
    logger.handle(logging.makeLogRecord({"name": __name__, "msg": "request", "fields": fields, **level}))
