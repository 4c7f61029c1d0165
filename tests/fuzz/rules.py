"""What must hold of every reply, whatever was asked."""

import json
import re

import grpc

from tests.conformance.rules import LEAK

STATUSES = {200, 400, 404, 405, 406, 408, 413, 415, 422, 429, 431, 501, 504}
"""401 and 403 come only where keys are set or administration is asked for; 500 and 503 never."""

BATCH_STATUSES = STATUSES | {202, 409}
"""A batch is accepted, and a key that was used for other lines is in conflict."""

CODES = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.PERMISSION_DENIED,
}

UNREAD = {"malformed_request", "request_timeout", "headers_too_large"}
"""Codes of errors that a connection may send before it knows the path."""

INSIDE = re.compile(
    r"msgspec|numpy|uvicorn|starlette|httptools|asyncio|cygrpc|\bserver\.\w+\.|Error\b.*\bat\b"
)
"""Names from inside, which no error tells."""


def problems(path, reply, method="POST", statuses=STATUSES):
    """Return sentences about what is wrong with a reply, none when all is well."""
    text = reply.body.decode(errors="replace")
    found = [f"tells {match[0]!r}" for match in (LEAK.search(text),) if match]
    if reply.status not in statuses and not (reply.status == 403 and "/repository/" in path):
        found.append(f"has status {reply.status}")
    if reply.status >= 400 and (match := INSIDE.search(text)):
        found.append(f"tells {match[0]!r}")
    return found if method == "HEAD" else [*found, *_form(path, reply)]


def _form(path, reply):
    kind = reply.headers.get("content-type", "")
    if reply.status < 400 and kind.startswith("image/"):
        return
    if reply.status < 400 and not (kind.startswith("application/json") and reply.body):
        return  # bytes behind JSON, the documentation page, metrics, or nothing
    try:
        told = json.loads(reply.body, parse_constant=_refuse)
    except ValueError as error:
        yield f"is no JSON: {error}"
        return
    if reply.status < 400:
        return
    error = told.get("error") if isinstance(told, dict) and set(told) == {"error"} else None
    if re.match(r"/(v2|hf)(/|$)", path) and not _is_refused_unread(error):
        if not isinstance(error, str) or not error.strip():
            yield f"is not {{'error': text}}: {reply.body[:200]!r}"
    elif not isinstance(error, dict) or set(error) != {"code", "message", "details", "request_id"}:
        yield f"is not the envelope: {reply.body[:200]!r}"
    elif not all(error[name] and isinstance(error[name], str) for name in ("code", "message", "request_id")):
        yield f"says nothing: {reply.body[:200]!r}"


def _is_refused_unread(error):
    """Say whether this is about bytes that are no whole head, and so have no path yet."""
    return isinstance(error, dict) and error["code"] in UNREAD


def grpc_problems(code, reason):
    """Return sentences about what is wrong with the end of a call."""
    found = [] if code in CODES else [f"ends with {code}"]
    if code is not grpc.StatusCode.OK:
        found += [f"tells {match[0]!r}" for rule in (LEAK, INSIDE) if (match := rule.search(reason))]
        if not reason.strip():
            found.append("says nothing")
    return [f"{each}: {reason[:200]}" for each in found]


def _refuse(constant):
    raise ValueError(f"{constant} is no JSON")
