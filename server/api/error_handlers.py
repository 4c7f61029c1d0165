"""From error class to status: the one table, and the one envelope every failure leaves in.

{"error": {"code": "...", "message": "...", "details": {...}, "request_id": "..."}}

Where a path belongs to somebody else's protocol, its clients expect {"error": "text"} and get that.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from server import errors
from server.api import http_errors

logger = logging.getLogger(__name__)

STATUS: dict[type[Exception], int] = {
    http_errors.MalformedBody: 400,
    http_errors.MalformedRequest: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    http_errors.NotFound: 404,
    http_errors.MethodNotAllowed: 405,
    http_errors.RequestTimeout: 408,
    http_errors.PayloadTooLarge: 413,
    http_errors.UnsupportedEncoding: 415,
    http_errors.Unsupported: 501,
    http_errors.HeadersTooLarge: 431,
    errors.NotAcceptable: 406,
    errors.InputError: 422,
    errors.ModelNotFound: 404,
    errors.ModelNotReady: 503,
    errors.Overloaded: 429,
    errors.DeadlineExceeded: 504,
    errors.ShuttingDown: 503,
    errors.BundleError: 503,
    errors.StoreUnavailable: 503,
    errors.StorageFull: 507,
    errors.ExecutorLost: 503,
    Exception: 500,
}
"""Status of each class; a class that is not listed has the status of its nearest ancestor."""

PLAIN = re.compile(r"/(v2|hf)(/|$)")
"""Paths whose errors are {"error": "text"}: the Open Inference Protocol and the Hugging Face form."""


class ErrorBody(msgspec.Struct, frozen=True):
    """What went wrong: a stable code, a sentence for people, details for programs."""

    code: str
    message: str
    details: dict[str, Any]
    request_id: str


class ErrorEnvelope(msgspec.Struct, frozen=True):
    """Every answer that is not a success."""

    error: ErrorBody


class PlainError(msgspec.Struct, frozen=True):
    """The same below ``/v2`` and ``/hf``."""

    error: str


_encode = msgspec.json.Encoder(enc_hook=str).encode


def status_of(error: Exception) -> int:
    """Return the HTTP status of an error."""
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)


def error_body(error: Exception, request_id: str) -> ErrorBody:
    """Return what a client may know about an error; what is behind a 500 goes to the log."""
    if not isinstance(error, errors.EngramError) or status_of(error) == 500:
        logger.error("internal error", exc_info=error)
        return ErrorBody(
            "internal", "the server failed; its log has more beside the request id", {}, request_id
        )
    return ErrorBody(error.code, error.message, dict(error.details), request_id)


def encode_error(error: Exception, request_id: str, path: str) -> bytes:
    """Return the envelope as JSON, in the form that clients of the path expect."""
    told = error_body(error, request_id)
    return _encode(PlainError(told.message) if PLAIN.match(path) else ErrorEnvelope(told))


def error_response(scope: Scope, error: Exception, headers: Mapping[str, str] | None = None) -> Response:
    """Return an error as a response, with the header that helps: ``Retry-After``, say."""
    body = encode_error(error, scope["engram"].request_id, scope["path"])
    headers = dict(headers or {})
    match error:
        case errors.Overloaded():
            headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
        case http_errors.UnsupportedEncoding():
            headers["Accept-Encoding"] = ", ".join(error.details["supported"])
        case errors.Unauthorized():
            headers["WWW-Authenticate"] = 'Bearer realm="engram"'
    status = status_of(error)
    if status == 422 and (protocol := PLAIN.match(scope["path"])) and protocol[1] == "v2":
        status = 400  # all that this protocol knows for a request that cannot be answered
    return Response(body, status, headers, "application/json")


def install_error_handlers(app: FastAPI) -> None:
    """Send every known failure of the application through the envelope."""
    app.add_exception_handler(errors.EngramError, _engram_error)
    app.add_exception_handler(HTTPException, _http_exception)


async def _engram_error(request: Request, error: Exception) -> Response:
    return error_response(request.scope, error)


async def _http_exception(request: Request, error: Exception) -> Response:
    """Answer for the router, which knows neither the path nor, for a known path, the method."""
    assert isinstance(error, HTTPException)
    allow = (error.headers or {}).get("Allow", "")
    if error.status_code == 405:
        known: errors.EngramError = http_errors.MethodNotAllowed(
            f"{request.method} is not possible here, only {allow}", allow=allow.split(", ")
        )
    else:
        known = http_errors.NotFound("nothing lives at this path; /docs lists what does")
    return error_response(request.scope, known, error.headers)
