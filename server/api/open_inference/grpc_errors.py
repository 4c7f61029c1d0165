"""Failures over gRPC: from error class to status code, with the same sentence HTTP would send."""

from __future__ import annotations

import math
from typing import NoReturn

import grpc

from server import errors
from server.api import http_errors
from server.api.error_handlers import error_body

CODES: dict[type[Exception], grpc.StatusCode] = {
    http_errors.Unsupported: grpc.StatusCode.UNIMPLEMENTED,
    errors.InputError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.Unauthorized: grpc.StatusCode.UNAUTHENTICATED,
    errors.Forbidden: grpc.StatusCode.PERMISSION_DENIED,
    errors.ModelNotFound: grpc.StatusCode.NOT_FOUND,
    errors.ModelNotReady: grpc.StatusCode.UNAVAILABLE,
    errors.Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.ShuttingDown: grpc.StatusCode.UNAVAILABLE,
    errors.BundleError: grpc.StatusCode.UNAVAILABLE,
    errors.ExecutorLost: grpc.StatusCode.UNAVAILABLE,
    Exception: grpc.StatusCode.INTERNAL,
}
"""Code of each class; a class that is not listed has the code of its nearest ancestor."""


def code_of(error: Exception) -> grpc.StatusCode:
    """Return the status code of an error."""
    return next(CODES[cls] for cls in type(error).__mro__ if cls in CODES)


async def abort(context: grpc.aio.ServicerContext, error: Exception, request_id: str) -> NoReturn:
    """End the call with this error; overload says in ``retry-after`` when to come back."""
    hints: tuple[tuple[str, str], ...] = ()
    if isinstance(error, errors.Overloaded):
        hints = (("retry-after", str(max(1, math.ceil(error.retry_after_s)))),)
    await context.abort(code_of(error), error_body(error, request_id).message, hints)
    raise AssertionError("abort always raises")
