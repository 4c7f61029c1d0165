"""What can go wrong while a request is served.

    EngramError
    ├── InputError            the request cannot be answered as it stands
    │   ├── InvalidRequest      a field has the wrong type, size or value
    │   ├── InputTooLong        more facts or words than the model takes
    │   ├── UnknownWords        words the model has never seen
    │   └── NotAcceptable       an answer form that does not exist for this task
    ├── Unauthorized          no key, or one the server does not know
    ├── Forbidden             a key that does not open this, or something nobody may do here
    ├── ModelNotFound         no such model, version or default
    ├── ModelNotReady         the model exists and cannot answer now
    ├── Overloaded            the queue is full; ``retry_after_s`` says when to come back
    ├── DeadlineExceeded      the deadline passed before the answer was there
    ├── ShuttingDown          the server drains and takes no new work
    ├── StoreUnavailable      the database that keeps batches cannot be used now
    │   └── StorageFull         its disk is full
    ├── BundleError           a bundle on disk is broken or incompatible
    └── RunError              the graph failed
        └── ExecutorLost        the executor died; the same request may succeed

Every error carries a stable ``code``, a sentence for people and ``details`` for programs.
Nothing here knows HTTP: ``server.api.error_handlers`` maps classes to status codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class EngramError(Exception):
    """Base of the family: a code, a message and details that are safe to show a client."""

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details: Mapping[str, Any] = details


class InputError(EngramError):
    """The request cannot be answered as it stands."""

    code = "invalid_request"


class InvalidRequest(InputError):
    """A field has the wrong type, size or value; ``details["fields"]`` names it."""

    code = "invalid_request"


class InputTooLong(InputError):
    """The input has more facts or words than the model's limits."""

    code = "input_too_long"


class UnknownWords(InputError):
    """Words outside the vocabulary; ``details["words"]`` lists each with its nearest known words."""

    code = "unknown_words"


class NotAcceptable(InputError):
    """The ``Accept`` header asks for a form this answer does not have."""

    code = "not_acceptable"


class Unauthorized(EngramError):
    """The request carries no key, or one the server does not know."""

    code = "unauthorized"


class Forbidden(EngramError):
    """The key does not open this, or administration is off."""

    code = "forbidden"


class ModelNotFound(EngramError):
    """No model, version or default of that name; ``details["models"]`` lists what exists."""

    code = "model_not_found"


class ModelNotReady(EngramError):
    """The model is loading, failed to load or is being unloaded."""

    code = "model_not_ready"


class Overloaded(EngramError):
    """The queue is full. ``retry_after_s`` is the expected time until there is room."""

    code = "overloaded"

    def __init__(self, message: str, retry_after_s: float, **details: Any) -> None:
        super().__init__(message, retry_after_s=round(retry_after_s, 3), **details)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(EngramError):
    """The deadline passed before the answer was there."""

    code = "deadline_exceeded"


class ShuttingDown(EngramError):
    """The server drains and takes no new work."""

    code = "shutting_down"


class StoreUnavailable(EngramError):
    """The database that keeps batches cannot be used now."""

    code = "batches_unavailable"


class StorageFull(StoreUnavailable):
    """The disk that keeps batches is full, or nearly; what was accepted is kept."""

    code = "insufficient_storage"


class BundleError(EngramError):
    """A bundle on disk is broken, altered or incompatible with this server."""

    code = "model_not_ready"


class RunError(EngramError):
    """The graph failed on this input."""

    code = "internal"


class ExecutorLost(RunError):
    """The executor died while the request ran; the same request may succeed."""

    code = "executor_lost"
