"""The control channel between supervisor and worker: MessagePack frames over a Unix socket, never pickle.

Every frame is four bytes of length and one message. A worker asks, the supervisor has everybody do, each is
done, the asker is answered.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any, Self

import msgspec

from server import errors

LONGEST_FRAME = 64 * 2**20
"""Bytes of one message; a snapshot of counts is some tens of thousands."""


class Failure(msgspec.Struct, frozen=True):
    """An error on its way to another process."""

    kind: str
    message: str
    details: dict[str, Any] = {}

    @classmethod
    def of(cls, error: Exception) -> Self:
        """Pack an error; what is none of ours travels without its message, which may tell too much."""
        if isinstance(error, errors.EngramError):
            details = msgspec.to_builtins(dict(error.details), enc_hook=str)
            return cls(type(error).__name__, error.message, details)
        return cls("RunError", "an unexpected error came up in a worker; the log has it")

    def error(self) -> errors.EngramError:
        """Unpack it."""
        kinds: dict[str, type[errors.EngramError]] = {
            kind.__name__: kind
            for kind in (errors.ModelNotFound, errors.ModelNotReady, errors.ShuttingDown, errors.RunError)
        }
        return kinds.get(self.kind, errors.RunError)(self.message, **self.details)


class Past(msgspec.Struct, frozen=True, tag=True):
    """To a new worker: what the others have carried out already, and the counts of its predecessor."""

    orders: list[tuple[str, bytes]]
    bequest: bytes


class Ready(msgspec.Struct, frozen=True, tag=True):
    """From a worker: it takes requests."""


class Bequest(msgspec.Struct, frozen=True, tag=True):
    """From a worker, again and again: its counts, for whoever takes its place."""

    counts: bytes


class Ask(msgspec.Struct, frozen=True, tag=True):
    """From a worker: have the others carry out an order, and this one too if ``own``."""

    number: int
    order: str
    argument: bytes
    own: bool


class Do(msgspec.Struct, frozen=True, tag=True):
    """To a worker: carry out an order."""

    number: int
    order: str
    argument: bytes


class Done(msgspec.Struct, frozen=True, tag=True):
    """From a worker: what came of an order."""

    number: int
    answer: bytes = b""
    failure: Failure | None = None


class Answers(msgspec.Struct, frozen=True, tag=True):
    """To the worker that asked: what came of it."""

    number: int
    answers: list[bytes]
    failure: Failure | None = None


Message = Past | Ready | Bequest | Ask | Do | Done | Answers

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode


class Channel:
    """One end of the channel. Frames are written whole, so several tasks may send."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> Self:
        """Take over one end of a socket pair."""
        return cls(*await asyncio.open_unix_connection(sock=end))

    def send(self, message: Message) -> None:
        """Send a message; one for an end that is gone goes nowhere."""
        frame = _encode(message)
        if not self._writer.is_closing():
            self._writer.write(len(frame).to_bytes(4, "big") + frame)

    async def messages(self) -> AsyncIterator[Message]:
        """Yield what comes until the other end is gone."""
        try:
            while True:
                length = int.from_bytes(await self._reader.readexactly(4), "big")
                if length > LONGEST_FRAME:
                    return
                yield _decode(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return

    def close(self) -> None:
        """Let go of the socket."""
        self._writer.close()
