"""What every gRPC call goes through: its key, its request id, its status, its log line."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from server.api.exchange import clean_request_id
from server.api.open_inference.grpc_errors import abort, code_of
from server.api.security import ANONYMOUS
from server.errors import InvalidRequest
from server.logs import REQUEST_ID
from server.tracing import TRACE, Trace

logger = logging.getLogger(__name__)

OPEN = frozenset({"ServerLive", "ServerReady"})
"""Methods that never need a key, because probes carry none."""

FAULTS = frozenset({grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE})
"""Statuses that mark a trace as failed: the server is to blame."""


class Unreadable:
    """Stands for a message whose bytes are not one; it has an id, because answers in a stream repeat it."""

    id = ""


UNREADABLE = Unreadable()

Method = Callable[[Any, Any, grpc.aio.ServicerContext], Awaitable[Any]]


def answering(method: Method) -> Method:
    """Let a method return its answer or raise an ``EngramError``; ask for the key, log, end with a status."""
    name = method.__name__

    async def answer(service: Any, message: Any, context: grpc.aio.ServicerContext) -> Any:
        started = time.monotonic()
        services = service.services
        headers = headers_of(context)
        request_id = clean_request_id(headers.get(b"x-request-id", b""))
        token = REQUEST_ID.set(request_id)
        trace = None if services.tracer is None or name in OPEN else services.tracer.begin(headers)
        TRACE.set(trace)  # for this call's task, and for no other
        fields: dict[str, Any] = {"method": name}
        status = grpc.StatusCode.CANCELLED
        try:
            if name not in OPEN and (caller := services.keys.require(headers)) is not ANONYMOUS:
                fields["key"] = caller.name
            insist_on_message(message)
            reply = await method(service, message, context)
        except Exception as error:
            status = code_of(error)
            await abort(context, error, request_id)
        else:
            status = grpc.StatusCode.OK
            return reply
        finally:
            fields |= {"status": status.name, "total_ms": round((time.monotonic() - started) * 1e3, 3)}
            logger.info("request", extra={"fields": fields})
            REQUEST_ID.reset(token)
            if trace is not None:
                _end(trace, name, status, request_id)

    answer.__name__, answer.__doc__ = name, method.__doc__
    return answer


def insist_on_message(message: Any) -> None:
    """Raise InvalidRequest for what could not be parsed."""
    if message is UNREADABLE:
        raise InvalidRequest("the bytes that came are not a message of this method")


def _end(trace: Trace, method: str, status: grpc.StatusCode, request_id: str) -> None:
    TRACE.set(None)
    attributes = {
        "rpc.system": "grpc",
        "rpc.method": method,
        "rpc.grpc.status_code": status.value[0],
        "engram.request_id": request_id,
    }
    trace.end(f"grpc {method}", attributes, failed=status in FAULTS)


def headers_of(context: grpc.aio.ServicerContext) -> dict[bytes, bytes]:
    """Return a call's metadata as headers."""
    return {
        key.encode(): value if isinstance(value, bytes) else value.encode()
        for key, value in context.invocation_metadata() or ()
    }
