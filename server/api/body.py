"""Reading request bodies: bounded in bytes, as they come and decompressed, and in time."""

from __future__ import annotations

import asyncio
import time
import zlib
from dataclasses import dataclass

from starlette.types import Receive

from server.api.exchange import THREAD_BYTES, Exchange
from server.api.http_errors import ClientGone, MalformedBody, PayloadTooLarge, UnsupportedEncoding
from server.errors import DeadlineExceeded

SUPPORTED = ("gzip", "deflate", "identity")
"""Encodings a body can come in."""

WBITS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}
"""Header and trailer that zlib requires: those of gzip, or its own, which HTTP calls deflate."""


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Most bytes of a body, as it comes over the wire and once decompressed."""

    compressed: int
    decompressed: int


async def read_body(exchange: Exchange, receive: Receive, limits: BodyLimits, deadline: float) -> bytes:
    """Return the whole body with its compression undone.

    Args:
        exchange: the request, for its headers.
        receive: ASGI's.
        limits: most bytes.
        deadline: ``time.monotonic()`` by which the body must be here.

    Raises:
        PayloadTooLarge, UnsupportedEncoding, MalformedBody: the body cannot be taken.
        DeadlineExceeded: the client sends too slowly.
        ClientGone: the client left while sending.
    """
    encoding = exchange.headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding != b"identity" and encoding not in WBITS:
        raise UnsupportedEncoding("the body's Content-Encoding is not supported", supported=list(SUPPORTED))
    plain = encoding == b"identity"
    most = min(limits.compressed, limits.decompressed) if plain else limits.compressed
    declared = exchange.headers.get(b"content-length", b"0")
    if declared.isdigit() and int(declared[:20]) > most:
        raise _too_large(most)
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            body = await _receive_all(receive, most)
    except TimeoutError:
        raise DeadlineExceeded("the body did not arrive before the deadline") from None
    if plain:
        return body
    if len(body) < THREAD_BYTES:
        return _inflate(body, limits.decompressed, WBITS[encoding])
    return await asyncio.to_thread(_inflate, body, limits.decompressed, WBITS[encoding])


async def _receive_all(receive: Receive, most: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body += message.get("body", b"")
        if len(body) > most:
            raise _too_large(most)
        if not message.get("more_body", False):
            return bytes(body)


def _inflate(body: bytes, most: int, wbits: int) -> bytes:
    inflate = zlib.decompressobj(wbits)
    try:
        plain = inflate.decompress(body, most + 1)
    except zlib.error:
        raise MalformedBody("the body is not what its Content-Encoding says") from None
    if len(plain) > most:
        raise PayloadTooLarge(f"the body is larger than {most} bytes once decompressed", max_bytes=most)
    if not inflate.eof or inflate.unused_data:
        raise MalformedBody("the body must be one whole compressed stream")
    return plain


def _too_large(most: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"the body is larger than {most} bytes", max_bytes=most)
