"""What can go wrong while a server is asked.

    EngramError
    ├── ConfigurationError    the URL, the key or the timeout cannot be used
    ├── ConnectionFailed      no server answered at the URL
    ├── Timeout               the deadline passed
    │   └── DeadlineExceeded    the server said so (also an APIStatusError)
    ├── UnexpectedResponse    the answer is not what an Engram server sends
    └── APIStatusError        the server said no; ``code``, ``details`` and ``request_id`` say why
        ├── InvalidRequest      a field has the wrong type, size or value, or the JSON is broken
        │   ├── InputTooLong      more facts or words than the model takes
        │   ├── UnknownWords      words the model has never seen; ``words`` has the nearest known ones
        │   └── PayloadTooLarge   the body is over the server's limit
        ├── Unauthorized        no API key, or a wrong one
        ├── Forbidden           the key may not do this
        ├── NotFound            no such path
        │   └── ModelNotFound     no such model; ``models`` lists what exists
        ├── NotAcceptable       an answer form that does not exist
        ├── Overloaded          the queue is full; ``retry_after`` says when to come back
        ├── Unavailable         the server cannot answer now
        │   ├── ModelNotReady     the model is loading, or failed to load
        │   ├── ShuttingDown      the server takes no new work
        │   ├── BatchesUnavailable  the database that keeps batches cannot be used
        │   └── ExecutorLost      the executor died; the same request may succeed
        └── ServerError         the server failed; its log has the request id
            └── StorageFull       the disk that keeps batches is full, or nearly

A class is chosen by the error's ``code`` first and by the HTTP status second, so a code this
version does not know still arrives as the class of its status.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Details = Mapping[str, Any]


class EngramError(Exception):
    """Base of everything this package raises. ``request_id`` is what to look for in the server's log."""

    request_id: str | None = None


class ConfigurationError(EngramError, ValueError):
    """The URL, the key or the timeout cannot be used."""


class ConnectionFailed(EngramError):
    """No server answered. The message has the URL that was tried and how to start a server."""


class Timeout(EngramError, TimeoutError):
    """The deadline passed before the answer was there."""


class UnexpectedResponse(EngramError):
    """The answer is not what an Engram server sends."""


class APIStatusError(EngramError):
    """The server said no.

    Attributes:
        message: The server's sentence for people.
        status: The HTTP status; ``None`` for one item of a batch.
        code: The server's stable word for this error; empty when something in between answered.
        details: The server's facts for programs.
        request_id: What to look for in the server's log.
        retry_after: Seconds the server asked to wait, if it did.
    """

    def __init__(  # noqa: PLR0917 - in args, so that pickle can make it again
        self,
        message: str,
        status: int | None = None,
        code: str = "",
        details: Details | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, status, code, details, request_id, retry_after)
        self.message = message
        self.status = status
        self.code = code
        self.details: Details = details or {}
        self.request_id = request_id
        self.retry_after = retry_after

    def __str__(self) -> str:
        known = [self.code or (f"HTTP {self.status}" if self.status else "")]
        if self.request_id:
            known.append(f"request {self.request_id}")
        return f"{self.message} [{', '.join(filter(None, known))}]"


class InvalidRequest(APIStatusError):
    """A field has the wrong type, size or value, or the JSON is broken."""


class InputTooLong(InvalidRequest):
    """The input has more facts or words than the model takes."""


class UnknownWords(InvalidRequest):
    """The input has words the model has never seen."""

    @property
    def words(self) -> dict[str, list[str]]:
        """Each unknown word with the nearest known words."""
        listed = self.details.get("words", [])
        return {item["word"]: list(item.get("nearest", [])) for item in listed if "word" in item}


class PayloadTooLarge(InvalidRequest):
    """The body is over the server's limit."""


class Unauthorized(APIStatusError):
    """No API key, or a wrong one; set ``ENGRAM_API_KEY`` or pass ``api_key``."""


class Forbidden(APIStatusError):
    """The key may not do this."""


class NotFound(APIStatusError):
    """No such path on this server."""


class ModelNotFound(NotFound):
    """No model of that name, version or task."""

    @property
    def models(self) -> list[str]:
        """The models that exist."""
        return [str(name) for name in self.details.get("models", [])]


class NotAcceptable(APIStatusError):
    """The answer does not exist in the form that was asked for."""


class Overloaded(APIStatusError):
    """The queue is full; ``retry_after`` says when to come back."""


class Unavailable(APIStatusError):
    """The server cannot answer now."""


class ModelNotReady(Unavailable):
    """The model is loading, or failed to load."""


class ShuttingDown(Unavailable):
    """The server drains and takes no new work."""


class BatchesUnavailable(Unavailable):
    """The database that keeps batches cannot be used now."""


class ExecutorLost(Unavailable):
    """The executor died while the request ran; the same request may succeed."""


class DeadlineExceeded(APIStatusError, Timeout):
    """The server says that the deadline passed before the answer was there."""


class ServerError(APIStatusError):
    """The server failed; its log has the traceback under the request id."""


class StorageFull(ServerError):
    """The disk that keeps batches is full, or nearly; batches that were accepted are kept."""


BY_CODE: Mapping[str, type[APIStatusError]] = {
    "malformed_json": InvalidRequest,
    "invalid_request": InvalidRequest,
    "unsupported_encoding": InvalidRequest,
    "input_too_long": InputTooLong,
    "unknown_words": UnknownWords,
    "payload_too_large": PayloadTooLarge,
    "unauthorized": Unauthorized,
    "forbidden": Forbidden,
    "not_found": NotFound,
    "model_not_found": ModelNotFound,
    "not_acceptable": NotAcceptable,
    "overloaded": Overloaded,
    "model_not_ready": ModelNotReady,
    "shutting_down": ShuttingDown,
    "executor_lost": ExecutorLost,
    "deadline_exceeded": DeadlineExceeded,
    "batches_unavailable": BatchesUnavailable,
    "insufficient_storage": StorageFull,
    "internal": ServerError,
}

BY_STATUS: Mapping[int, type[APIStatusError]] = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    406: NotAcceptable,
    413: PayloadTooLarge,
    415: InvalidRequest,
    422: InvalidRequest,
    429: Overloaded,
    502: Unavailable,
    503: Unavailable,
    504: DeadlineExceeded,
}


def error_class(code: str, status: int | None) -> type[APIStatusError]:
    """Choose the class of an error: by code first, by status second."""
    fallback = ServerError if status is not None and status >= 500 else APIStatusError
    return BY_CODE.get(code) or BY_STATUS.get(status or 0, fallback)
