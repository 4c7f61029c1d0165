"""The body of a batch as it arrives: bounded in bytes and in patience, its compression undone on the way."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator

from starlette.types import Receive

from server.api.body import SUPPORTED, WBITS
from server.api.exchange import Exchange
from server.api.http_errors import ClientGone, MalformedBody, PayloadTooLarge, UnsupportedEncoding
from server.api.lifecycle import Lifecycle
from server.errors import DeadlineExceeded
from server.settings import variable

IDLE_S = 30.0
"""How long the next bytes of a body may take."""

PIECE = 256 * 2**10
"""Bytes that decompression gives at a time."""


async def chunks_of(
    exchange: Exchange, receive: Receive, lifecycle: Lifecycle, most_bytes: int
) -> AsyncIterator[bytes]:
    """Yield a body as it comes.

    Args:
        exchange: the request, for its headers.
        receive: ASGI's.
        lifecycle: ends a body that has not come when the server stops.
        most_bytes: of it, as it comes and decompressed.

    Raises:
        PayloadTooLarge, UnsupportedEncoding, MalformedBody: the body cannot be taken.
        DeadlineExceeded: nothing more came.
        ShuttingDown: the server stops.
        ClientGone: the client left.
    """
    encoding = exchange.headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding != b"identity" and encoding not in WBITS:
        raise UnsupportedEncoding("the body's Content-Encoding is not supported", supported=list(SUPPORTED))
    declared = exchange.headers.get(b"content-length", b"0")
    if declared.isdigit() and int(declared[:20]) > most_bytes:
        raise _too_large(most_bytes)
    pieces = _received(receive, lifecycle)
    if encoding != b"identity":
        pieces = _inflated(pieces, WBITS[encoding])
    size = 0
    async for piece in pieces:
        size += len(piece)
        if size > most_bytes:
            raise _too_large(most_bytes)
        yield piece


async def _received(receive: Receive, lifecycle: Lifecycle) -> AsyncIterator[bytes]:
    more = True
    while more:
        lifecycle.require_open()
        try:
            async with asyncio.timeout(IDLE_S):
                message = await receive()
        except TimeoutError:
            raise DeadlineExceeded(f"nothing more of the body came within {IDLE_S:g} s") from None
        if message["type"] == "http.disconnect":
            raise ClientGone
        yield message.get("body", b"")
        more = message.get("more_body", False)


async def _inflated(pieces: AsyncIterator[bytes], wbits: int) -> AsyncIterator[bytes]:
    inflate = zlib.decompressobj(wbits)
    async for piece in pieces:
        try:
            while piece:
                yield await asyncio.to_thread(inflate.decompress, piece, PIECE)
                piece = inflate.unconsumed_tail  # noqa: PLW2901 - what is left of it
        except zlib.error:
            raise MalformedBody("the body is not what its Content-Encoding says") from None
        if inflate.unused_data:
            raise MalformedBody("the body must be one whole compressed stream")
    if not inflate.eof:
        raise MalformedBody("the body must be one whole compressed stream")


def _too_large(most: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"the body is larger than {most} bytes ({variable('batch_max_bytes')})", max_bytes=most
    )
