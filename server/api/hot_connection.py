"""A connection that answers plain requests by the hot path and hands all others to the application."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from server.api.connection import BoundedProtocol, ConnectionLimits
from server.api.hot_path import HotEndpoint, HotPath, Reply

PATIENCE_S = 0.02
"""How long the rest of a body may take to come the hot path; what is slower goes to the application."""


def connection_protocol(limits: ConnectionLimits, hot_path: HotPath) -> type[HttpToolsProtocol]:
    """Return what uvicorn makes for each connection."""
    return type("Connection", (HotProtocol,), {"limits": limits, "hot_path": hot_path})


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


class HotProtocol(BoundedProtocol):
    """A bounded connection on which ``hot_path`` answers what it takes.

    Between its head and the end of its body such a request has an endpoint and no cycle yet.
    """

    hot_path: ClassVar[HotPath]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Take the connection."""
        self._endpoint: HotEndpoint | None = None
        self._body = b""
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the connection; the application counts and logs what came of a request."""
        self._to_application()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Take no more requests; one whose body still comes is the application's."""
        self._to_application()
        super().shutdown()

    def data_received(self, data: bytes) -> None:
        """Parse what came; the rest of a body must come soon."""
        super().data_received(data)
        if self._endpoint is not None and self._timer is None:
            self._timer = self.loop.call_later(PATIENCE_S, self._to_application)

    def on_body(self, body: bytes) -> None:
        """Collect a body."""
        if self._endpoint is not None:
            self._body += body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Begin to answer, now that the body is there."""
        endpoint, self._endpoint = self._endpoint, None
        if endpoint is None:
            super().on_message_complete()
        else:
            self._end_message()
            self._begin(endpoint)

    def _hand_over(self) -> None:
        """Keep a plain request here, while nothing else is under way on the connection."""
        if (
            self._refusal is None
            and self.parser.get_method() == b"POST"
            and (self.cycle is None or self.cycle.response_complete)
            and not self.flow.write_paused
            and self.parser.get_http_version() == "1.1"
        ):
            self._endpoint = self.hot_path.endpoint_for(self.url, self.scope)  # type: ignore[arg-type]  # a dict
            self._body = b""
        if self._endpoint is None:
            super()._hand_over()

    def _to_application(self) -> None:
        """Hand over a request whose body is not here yet."""
        if self._endpoint is not None:
            self._endpoint = None
            self._stop_timer()
            super()._hand_over()
            super().on_body(self._body)

    def _begin(self, endpoint: HotEndpoint) -> None:
        cycle = HotCycle(self.parser.should_keep_alive())
        self.cycle = cycle  # type: ignore[assignment]  # it has all that is asked of one
        self._cycles.append(self.cycle)
        work = self._answer_hot(cycle, endpoint, self.scope, self._body)  # type: ignore[arg-type]  # a dict
        cycle.task = task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _answer_hot(self, cycle: HotCycle, endpoint: HotEndpoint, scope: Scope, body: bytes) -> None:
        # Not sooner: a task that is cancelled before it begins counts nothing.
        self._departure.task = cycle.task
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

    def _is_idle(self) -> bool:
        """Whether the last request has its answer, and what comes is the beginning of no other."""
        return self._endpoint is None and super()._is_idle()
