"""From body bytes to a task's request: typed decoding with errors that name the field."""

from __future__ import annotations

import asyncio
import re
from typing import TypeVar

import msgspec
import numpy as np

from server.api.exchange import THREAD_BYTES
from server.api.http_errors import MalformedBody
from server.errors import InvalidRequest
from server.settings import variable

T = TypeVar("T")

LONGEST_ECHO = 200
"""Characters of a client's own field name or value that an error repeats."""

_AT = re.compile(r" - at `\$\.?(?P<path>.*)`$", re.DOTALL)
_QUOTE = ord('"')
_REST = bytes(set(range(256)) - set(b'"[]{}'))
_STEPS = np.zeros(256, np.int8)
_STEPS[list(b"[{")], _STEPS[list(b"]}")] = 1, -1
_PIECE = 1 << 20
"""Bytes that are looked at together, which bounds the memory it takes."""

_FIELD = re.compile(
    r"^Object (?P<problem>missing required|contains unknown) field `(?P<field>.*)`$", re.DOTALL
)


async def check_depth(body: bytes, most: int) -> None:
    """Make sure that lists and objects are nested at most ``most`` deep.

    Raises:
        MalformedBody: they are nested deeper.
    """
    if len(body) < THREAD_BYTES:
        require_depth(body, most)
    else:
        await asyncio.to_thread(require_depth, body, most)


def require_depth(body: bytes, most: int) -> None:
    """Do what ``check_depth`` does, here and now; on a large body it takes a while.

    Raises:
        MalformedBody: lists and objects are nested deeper.
    """
    if body.count(b"[") + body.count(b"{") > most:  # hardly ever: there are not even that many
        _check_depth(body, most)


def decode(decoder: msgspec.json.Decoder[T], body: bytes | msgspec.Raw) -> T:
    """Return the body as the decoder's type.

    Raises:
        MalformedBody: it is no JSON (bare ``NaN`` and ``Infinity`` included).
        InvalidRequest: it is JSON of another shape; ``details["fields"]`` names the field.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        _insist_on_json(body)
        raise _invalid(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(error) from None


def invalid_field(path: str, message: str) -> InvalidRequest:
    """Return the error for one field that has a wrong value."""
    return InvalidRequest(f"{path}: {message}", fields=[path])


def _insist_on_json(body: bytes | msgspec.Raw) -> None:
    """Raise MalformedBody unless all of the body is JSON; the typed decoder stops at the first wrong type."""
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(error) from None


def _malformed(error: Exception) -> MalformedBody:
    if isinstance(error, RecursionError):
        return MalformedBody("the body is nested too deeply")
    if isinstance(error, UnicodeDecodeError):
        return MalformedBody("the body is not UTF-8")
    reason = str(error).removeprefix("JSON is malformed: ")
    return MalformedBody(f"the body is not JSON: {reason}")


def _invalid(text: str) -> InvalidRequest:
    at = _AT.search(text)
    path = at["path"] if at else ""
    message = text[: at.start()] if at else text
    if field := _FIELD.match(message):
        path = f"{path}.{field['field']}" if path else field["field"]
        message = "is missing" if field["problem"] == "missing required" else "is not a known field"
    else:
        message = message[:1].lower() + message[1:].replace("`", "")
    return invalid_field((path or "body")[:LONGEST_ECHO], message[:LONGEST_ECHO])


def _check_depth(body: bytes, most: int) -> None:
    # Escapes go, then all that is neither quote nor bracket; brackets between quotes do not count.
    kept = body.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _REST)
    structure = np.frombuffer(kept, np.uint8)
    quotes = depth = 0
    for start in range(0, len(structure), _PIECE):
        piece = structure[start : start + _PIECE]
        seen = np.cumsum(piece == _QUOTE) + quotes
        depths = np.cumsum(_STEPS[piece] * (seen % 2 == 0), dtype=np.int64) + depth
        if depths.max() > most:
            raise MalformedBody(f"the body is nested more than {most} deep ({variable('max_json_depth')})")
        quotes, depth = int(seen[-1]), int(depths[-1])
