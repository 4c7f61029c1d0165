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

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from server.api.disconnect import Departure
from server.api.error_handlers import encode_error, status_of
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


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits. In the usual case, a head in one read, they cost a comparison.

    Attributes:
        limits: set by a subclass, which is what uvicorn makes for each connection.
    """

    limits: ClassVar[ConnectionLimits]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Take the connection; one too many gets an answer to its request, and no more."""
        super().connection_made(transport)
        self._in_head = True
        self._in_message = self._is_alone = False
        self._head_bytes = self._read_bytes = self._chunks = 0
        self._refusal: EngramError | None = None
        self._departure = Departure()
        self._cycles: deque[RequestResponseCycle] = deque()
        self._timer: TimerHandle | None = self.loop.call_later(self.limits.head_s, self._out_of_time)
        if len(self.connections) > self.limits.connections:
            self._refusal = Overloaded(
                f"{self.limits.connections} connections are open ({variable('max_connections')})", 1.0
            )

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the connection."""
        self._stop_timer()
        self._depart()
        super().connection_lost(exc)

    def eof_received(self) -> None:
        """Note the departure before anything else runs: the next batch may be about to begin."""
        self._depart()
        super().eof_received()

    def data_received(self, data: bytes) -> None:
        """Parse what came; a head that goes on and on is cut off."""
        self._read_bytes = len(data)
        self._is_alone = not self._in_message
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._timer is None and (self._in_head or self._is_idle()):
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
        """Hand the request over, together with the reason if it must be refused."""
        self._in_head = False
        self._stop_timer()
        self.scope["departure"] = self._departure  # type: ignore[typeddict-unknown-key]  # for while_connected
        if len(self.headers) > self.limits.headers or self._is_too_large():
            self._refusal = self._too_large()
        if self._refusal is not None:
            self.scope["refusal"] = self._refusal  # type: ignore[typeddict-unknown-key]  # read by the exchange
        self._hand_over()

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
        self._end_message()
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

    def _end_message(self) -> None:
        self._in_message = self._is_alone = False
        self._stop_timer()

    def _hand_over(self) -> None:
        """Hand the request to the application."""
        super().on_headers_complete()
        self._cycles.append(self.cycle)

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
