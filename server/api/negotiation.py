"""What the client can take: media types from ``Accept``, gzip from ``Accept-Encoding`` (RFC 9110, 12.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.types import Scope

from server.errors import NotAcceptable

JSON = "application/json"
SVG = "image/svg+xml"
PNG = "image/png"

LONGEST_HEADER = 1000
"""Characters of a header that are looked at, so that a huge one costs nothing."""


@lru_cache(maxsize=256)
def best_type(accept: bytes, offered: Sequence[str]) -> str | None:
    """Return the offered media type the client likes best, or None when it takes none of them.

    Args:
        accept: the header as it came; empty means anything.
        offered: media types, the server's favourite first.
    """
    if not accept:
        return offered[0]
    ranges = _weights(accept)
    quality = {media_type: _quality(media_type, ranges) for media_type in offered}
    best = max(offered, key=quality.__getitem__)
    return best if quality[best] > 0 else None


@lru_cache(maxsize=256)
def takes_gzip(accept_encoding: bytes) -> bool:
    """Return whether the client said it takes gzip."""
    weights = _weights(accept_encoding)
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


@lru_cache(maxsize=256)
def best_encoding(accept_encoding: bytes) -> str | None:
    """Return which of gzip and deflate the client likes better, or None when it takes neither."""
    weights = _weights(accept_encoding)
    best = max(("gzip", "deflate"), key=lambda name: weights.get(name, 0.0))
    return best if weights.get(best, 0.0) > 0 else None


def accepted(headers: Mapping[bytes, bytes], offered: tuple[str, ...]) -> str:
    """Return the media type to answer with.

    Raises:
        NotAcceptable: the client takes none of those offered.
    """
    media_type = best_type(headers.get(b"accept", b""), offered)
    if media_type is None:
        raise NotAcceptable(f"this answer exists as {', '.join(offered)}", offered=list(offered))
    return media_type


def json_response(scope: Scope, content: Any) -> Response:
    """Return ``content`` as JSON, unless the client refuses JSON."""
    accepted(scope["engram"].headers, (JSON,))
    return Response(msgspec.json.encode(content), media_type=JSON)


def _quality(media_type: str, ranges: dict[str, float]) -> float:
    family = media_type.partition("/")[0]
    for candidate in (media_type, f"{family}/*", "*/*", "*"):
        if candidate in ranges:
            return ranges[candidate]
    return 0.0


def _weights(header: bytes) -> dict[str, float]:
    weights: dict[str, float] = {}
    for part in header[:LONGEST_HEADER].decode("latin-1").lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        weights[name] = next((_number(text) for text in parameters if text.startswith("q=")), 1.0)
    return weights


def _number(parameter: str) -> float:
    try:
        return float(parameter.removeprefix("q="))
    except ValueError:
        return 0.0
