"""Server-sent events: what a search has to tell while it goes on, then the whole answer (HTML, section 9.2).

``event: token`` and its like carry one event as JSON, ``event: done`` the answer as it would have come at
once, ``event: error`` the usual envelope. What fails before the first event is an ordinary error.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
from starlette.types import Send

from server.api.error_handlers import ErrorEnvelope, error_body
from server.api.exchange import Exchange
from server.api.http_errors import ClientGone
from server.contract.attention import encode_array
from server.runtime.stepwise.executor import OnEvents
from server.runtime.stepwise.walker import Events

EVENT_STREAM = "text/event-stream"

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would keep events back until a buffer is full
    (b"vary", b"Accept"),
]

LINGER_S = 5.0
"""How long after the deadline a reader may take what is left, the news of the deadline included."""

_encode = msgspec.json.Encoder(enc_hook=encode_array).encode

_encode_error = msgspec.json.Encoder(enc_hook=str).encode

Work = Callable[[OnEvents], Coroutine[Any, Any, bytes]]
"""Makes the answer as JSON, and calls what it is given with events on the way."""


class EventStream:
    """One answer on its way to one client.

    Events wait here for a slow reader, and for it alone: the search goes on. They are bounded by the answer,
    which has a step for each of them.
    """

    def __init__(self, exchange: Exchange, send: Send, deadline: float) -> None:
        """Take where to write, and when the answer is due on ``time.monotonic``."""
        self._exchange = exchange
        self._send = send
        self._deadline = deadline
        self._frames: deque[bytes] = deque()
        self._news = asyncio.Event()

    async def write(self, work: Work) -> None:
        """Stream what the work tells, and then its answer or its failure.

        Raises:
            ClientGone: the reader took too long.
            EngramError: what the work raised before it told anything.
        """
        task = asyncio.create_task(work(self._tell))
        task.add_done_callback(lambda _: self._news.set())
        try:
            async with asyncio.timeout(self._deadline + LINGER_S - time.monotonic()):
                await self._write(task)
        except TimeoutError:
            raise ClientGone from None
        finally:
            task.cancel()  # nobody reads any more, unless it is done
            await asyncio.gather(task, return_exceptions=True)

    def _tell(self, events: Events) -> None:
        self._frames.extend(frame(_name(event), _encode(event)) for event in events)
        self._news.set()

    async def _write(self, task: asyncio.Task[bytes]) -> None:
        begun = False
        while not task.done() or self._frames:
            await self._news.wait()
            self._news.clear()
            if self._frames:
                if not begun:
                    await self._send({"type": "http.response.start", "status": 200, "headers": HEADERS})
                    begun = True
                await self._flush(more=True)
        if not begun:
            body = await task  # a failure is answered with its status
            await self._send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            self._frames.append(frame("done", body))
        else:
            self._frames.append(self._last(task))
        await self._flush(more=False)

    def _last(self, task: asyncio.Task[bytes]) -> bytes:
        error = task.exception()
        if error is None:
            return frame("done", task.result())
        if not isinstance(error, Exception):
            raise error
        return frame("error", _encode_error(ErrorEnvelope(error_body(error, self._exchange.request_id))))

    async def _flush(self, *, more: bool) -> None:
        """Send all that waits as one piece."""
        body = b"".join(self._frames)
        self._frames.clear()
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


def frame(name: str, data: bytes) -> bytes:
    """Return one event; JSON has no line breaks, so its data is one line."""
    return b"event: %b\ndata: %b\n\n" % (name.encode("ascii"), data)


def _name(event: msgspec.Struct) -> str:
    return str(event.__struct_config__.tag)
