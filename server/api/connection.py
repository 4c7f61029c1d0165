"""One TCP connection, bounded where uvicorn leaves it open: the head of a request, chunks, time, connections.

What can be answered in order goes through the application, which logs and counts it; a connection that
never gets as far as a request is answered here and closed.
"""

from __future__ import annotations

import asyncio
import os
from asyncio import TimerHandle
from collections import deque
from dataclasses import dataclass
from typing import ClassVar

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from server.api.disconnect import Departure
from server.api.error_handlers import encode_error, status_of
from server.api.hot_path import HotEndpoint, HotPath, Reply
from server.api.http_errors import HeadersTooLarge, MalformedRequest, PayloadTooLarge, RequestTimeout
from server.errors import EngramError, Overloaded
from server.settings import Settings, variable


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What one client may take of the server before its request reaches the application.

    Attributes:
        connections: open at the same time, of all clients together.
        head_bytes: of the request line and the headers.
        headers: lines.
        chunks: pieces a chunked body may come in.
        head_s: seconds for a whole head, and for the rest of a body that was answered before its end.
    """

    connections: int
    head_bytes: int
    headers: int
    chunks: int
    head_s: float

    @classmethod
    def of(cls, settings: Settings) -> ConnectionLimits:
        """Return the limits the settings name."""
        return cls(
            settings.max_connections,
            settings.max_header_bytes,
            settings.max_headers,
            settings.max_chunks,
            settings.header_timeout_s,
        )


PATIENCE_S = 0.02
"""How long the rest of a body may take to come the hot path; what is slower goes to the application."""


def bounded_protocol(limits: ConnectionLimits, hot_path: HotPath | None = None) -> type[HttpToolsProtocol]:
    """Return what uvicorn makes for each connection; ``hot_path`` answers what it takes."""
    return type("Connection", (BoundedProtocol,), {"limits": limits, "hot_path": hot_path})


class HotCycle:
    """A request that is answered past ASGI: what uvicorn asks of the cycle it would have made for it."""

    __slots__ = ("disconnected", "keep_alive", "response_complete", "task")
    response_started = more_body = False

    def __init__(self, keep_alive: bool) -> None:
        self.keep_alive = keep_alive
        self.response_complete = self.disconnected = False
        self.task: asyncio.Task[None] | None = None

    @property
    def message_event(self) -> asyncio.Event:
        """What wakes an application that awaits more of the request, of which there is none."""
        return asyncio.Event()


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits. In the usual case, a head in one read, they cost a comparison."""

    limits: ClassVar[ConnectionLimits]
    hot_path: ClassVar[HotPath | None]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Take the connection; one too many gets an answer to its request, and no more."""
        super().connection_made(transport)
        self._in_head = True
        self._in_message = self._is_alone = False
        self._head_bytes = self._read_bytes = self._chunks = 0
        self._refusal: EngramError | None = None
        self._departure = Departure()
        self._cycles: deque[RequestResponseCycle | HotCycle] = deque()
        self._endpoint: HotEndpoint | None = None
        self._body = b""
        self._timer: TimerHandle | None = self.loop.call_later(self.limits.head_s, self._out_of_time)
        if len(self.connections) > self.limits.connections:
            self._refusal = Overloaded(
                f"{self.limits.connections} connections are open ({variable('max_connections')})", 1.0
            )

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the connection."""
        self._stop_timer()
        self._leave_hot_path()
        self._depart()
        super().connection_lost(exc)

    def eof_received(self) -> None:
        """Note the departure before anything else runs: the next batch may be about to begin."""
        self._depart()
        super().eof_received()

    def shutdown(self) -> None:
        """Take no more requests; one whose body still comes is the application's."""
        self._leave_hot_path()
        super().shutdown()

    def data_received(self, data: bytes) -> None:
        """Parse what came; a head that goes on and on is cut off."""
        self._read_bytes = len(data)
        self._is_alone = not self._in_message
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._timer is None:
            if self._endpoint is not None:
                self._timer = self.loop.call_later(PATIENCE_S, self._leave_hot_path)
            elif self._in_head or self._is_idle():
                self._timer = self.loop.call_later(self.limits.head_s, self._out_of_time)
        if self._in_head and self._head_bytes > self.limits.head_bytes:
            self._answer(self._too_large())

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._in_head = self._in_message = True
        self._chunks = 0
        # After the end of another request in the same read, where this one begins is not known.
        self._head_bytes = self._read_bytes if self._is_alone else 0

    def on_headers_complete(self) -> None:
        """Hand the request to the application, with the reason if it must be refused, or keep it here."""
        self._in_head = False
        self._stop_timer()
        self.scope["departure"] = self._departure  # type: ignore[typeddict-unknown-key]  # for while_connected
        if len(self.headers) > self.limits.headers or self._is_too_large():
            self._refusal = self._too_large()
        if self._refusal is not None:
            self.scope["refusal"] = self._refusal  # type: ignore[typeddict-unknown-key]  # read by the exchange
        elif (endpoint := self._hot_endpoint()) is not None:
            self._endpoint, self._body = endpoint, b""
            return
        super().on_headers_complete()
        self._cycles.append(self.cycle)

    def on_body(self, body: bytes) -> None:
        """Collect a body."""
        if self._endpoint is not None:
            self._body += body
        else:
            super().on_body(body)

    def on_chunk_header(self) -> None:
        """Count the pieces of a chunked body: each costs a call, however small it is."""
        self._chunks += 1
        if self._chunks > self.limits.chunks:
            self._refusal = PayloadTooLarge(
                f"the body comes in more than {self.limits.chunks} chunks ({variable('max_chunks')})",
                max_chunks=self.limits.chunks,
            )
            raise self._refusal  # the parser stops, and send_400_response answers

    def on_message_complete(self) -> None:
        """End the request's body."""
        self._in_message = self._is_alone = False
        self._stop_timer()
        if self._endpoint is not None:
            endpoint, self._endpoint = self._endpoint, None
            self._begin_hot(endpoint)
        else:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Await the next request; the rest of a body that nobody reads must end soon."""
        self._cycles.popleft()
        super().on_response_complete()
        if self.cycle.more_body and self._timer is None and not self.transport.is_closing():
            self._timer = self.loop.call_later(self.limits.head_s, self._out_of_time)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, in the words of every other error."""
        self._answer(self._refusal or MalformedRequest("the bytes that came are not an HTTP request"))

    def _hot_endpoint(self) -> HotEndpoint | None:
        """Return what answers this request past ASGI: a plain one, while nothing else is under way here."""
        if (
            self.hot_path is not None
            and self.parser.get_method() == b"POST"
            and (self.cycle is None or self.cycle.response_complete)
            and not self.flow.write_paused
            and self.parser.get_http_version() == "1.1"
        ):
            return self.hot_path.endpoint_for(self.url, self.scope)  # type: ignore[arg-type]  # it is a dict
        return None

    def _begin_hot(self, endpoint: HotEndpoint) -> None:
        cycle = HotCycle(self.parser.should_keep_alive())
        self._cycles.append(cycle)
        self.cycle = cycle  # type: ignore[assignment]  # it has all that is asked of one
        work = self._answer_hot(cycle, endpoint, self.scope, self._body)  # type: ignore[arg-type]  # it is a dict
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        cycle.task = task

    async def _answer_hot(self, cycle: HotCycle, endpoint: HotEndpoint, scope: Scope, body: bytes) -> None:
        assert self.hot_path is not None
        self._departure.task = (
            cycle.task
        )  # not sooner: a task that is cancelled before it begins logs nothing
        reply = await self.hot_path.answer(endpoint, scope, body, self._departure)
        self._departure.task = None
        if reply is None or self.transport.is_closing():
            return
        self._write(reply, cycle.keep_alive)
        cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _write(self, reply: Reply, keep_alive: bool) -> None:
        lines = [b"%b: %b\r\n" % line for line in (*self.server_state.default_headers, *reply.headers)]
        if not keep_alive:
            lines.append(b"connection: close\r\n")
        self.transport.write(b"".join((STATUS_LINE[reply.status], *lines, b"\r\n", reply.body)))

    def _leave_hot_path(self) -> None:
        """Hand a request whose body is not here yet to the application."""
        if self._endpoint is not None:
            self._endpoint = None
            self._stop_timer()
            super().on_headers_complete()
            self._cycles.append(self.cycle)
            super().on_body(self._body)

    def _depart(self) -> None:
        """Stop work, and keep uvicorn from answering for what is stopped."""
        for cycle in self._cycles:
            cycle.disconnected = True
            cycle.message_event.set()
        self._departure.note()

    def _out_of_time(self) -> None:
        """Close; whoever has sent a part of a head is told why."""
        self._timer = None
        if self._in_head and self.headers is not None:
            self._answer(
                RequestTimeout(
                    f"the request line and the headers did not arrive in {self.limits.head_s:g} s "
                    f"({variable('header_timeout_s')})"
                )
            )
        else:
            self.transport.close()

    def _answer(self, error: EngramError) -> None:
        """Send an error in place of the application and close the connection."""
        if not self.transport.is_closing() and (self.cycle is None or not self._is_answering()):
            path = self.url.decode("latin-1") if self.headers is not None else ""
            body = encode_error(error, os.urandom(12).hex(), path)
            head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(
                body
            )
            self.transport.write(STATUS_LINE[status_of(error)] + head + body)
        self.transport.close()

    def _is_idle(self) -> bool:
        """Whether the last request has its answer, and what comes is the beginning of no other."""
        return self.cycle is not None and self.cycle.response_complete

    def _is_answering(self) -> bool:
        """Whether the application is in the middle of an answer."""
        return self.cycle.response_started and not self.cycle.response_complete

    def _is_too_large(self) -> bool:
        if self._head_bytes + self._read_bytes <= self.limits.head_bytes:
            return False  # nearly always
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        return size > self.limits.head_bytes

    def _too_large(self) -> HeadersTooLarge:
        limits = self.limits
        return HeadersTooLarge(
            f"the request's head is larger than {limits.head_bytes} bytes ({variable('max_header_bytes')}) "
            f"or has more than {limits.headers} headers ({variable('max_headers')})",
            max_bytes=limits.head_bytes,
            max_headers=limits.headers,
        )

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
