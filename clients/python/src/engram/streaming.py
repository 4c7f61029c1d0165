"""Answers that come as they are made: server-sent events, read as they arrive.

A ``Stream`` says how the events of one call are read; the clients perform it. Nothing is sent twice: what has
begun to arrive cannot begin anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from engram.calls import Call, Reply
from engram.errors import ConnectionFailed, UnexpectedResponse
from engram.results import ItemError

E = TypeVar("E")
T = TypeVar("T")

MEDIA_TYPE = "text/event-stream"


@dataclass(frozen=True)
class Stream(Generic[E, T]):
    """One streamed call: ``events`` reads each named event, ``call.parse`` the whole answer at the end."""

    call: Call[T]
    events: Mapping[str, Callable[[Any], E]]


class EventReader(Generic[E, T]):
    """Turns the bytes of one answer into its events, and into the answer at the end.

    ``done`` says whether the answer has come. ``error`` holds the envelope of a failure on the way.
    """

    def __init__(self, stream: Stream[E, T], headers: Mapping[str, str]) -> None:
        self.done = False
        self.error: bytes | None = None
        self._stream = stream
        self._headers = headers
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[E | T]:
        """Yield what has become whole with this chunk.

        Raises:
            UnexpectedResponse: An event is not the contract's.
        """
        self._rest += chunk.replace(b"\r\n", b"\n")
        while b"\n\n" in self._rest and self.error is None:
            frame, _, self._rest = self._rest.partition(b"\n\n")
            fields = dict(line.partition(b":")[::2] for line in frame.split(b"\n"))
            name, data = fields.get(b"event", b"").strip().decode(), fields.get(b"data", b"").strip()
            if name == "error":
                self.error = data
            elif name in (*self._stream.events, "done"):
                yield self._read(name, data)

    def finish(self, request_id: str) -> None:
        """Make sure that the answer has come.

        Raises:
            APIStatusError: The server failed on the way.
            ConnectionFailed: The stream ended before the answer.
        """
        if self.error is not None:
            payload = json.loads(self.error)["error"]
            raise ItemError.from_payload(payload, 0, request_id).as_exception()
        if not self.done:
            raise ConnectionFailed(f"the stream ended before the answer [request {request_id}]")

    def _read(self, name: str, data: bytes) -> E | T:
        try:
            if name == "done":
                self.done = True
                return self._stream.call.parse(Reply(200, self._headers, data))
            return self._stream.events[name](json.loads(data))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            reason = f"the event {name!r} is not as an Engram server sends it ({error})"
            raise UnexpectedResponse(reason) from error
