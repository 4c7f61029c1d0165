"""Lines of a batch: which are requests, and what becomes of each, as one line of JSON."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from server.api.decoding import decode, require_depth
from server.api.error_handlers import ErrorBody, error_body
from server.api.http_errors import PayloadTooLarge
from server.api.task_endpoints import answer_fields
from server.batches.records import Line, Result
from server.contract.attention import encode_array
from server.errors import ExecutorLost, ModelNotReady, Overloaded, RunError, ShuttingDown
from server.logs import REQUEST_ID
from server.runtime.lines import Priority
from server.runtime.repository import Repository
from server.settings import variable
from server.tasks import Task

LINE_S = 600.0
"""How long one line may take, waits for other requests included."""

LineId = Annotated[
    Annotated[str, Meta(max_length=128)] | int,
    Meta(description="The line's own name, which its result repeats."),
]


class _Named(msgspec.Struct, frozen=True):
    """What is known of a line that is no request."""

    id: str | int | None = None


class LineError(msgspec.Struct, frozen=True):
    """The result of a line that has no answer; ``index`` counts lines from 0, ``id`` is the line's own."""

    id: str | int | None
    index: int
    error: ErrorBody


def line_type(task: type[Task]) -> type[msgspec.Struct]:
    """Return the type of a line: a request of the task, and its id."""
    name = task.Request.__name__.removesuffix("Request") + "Line"
    return msgspec.defstruct(
        name, [("id", LineId)], bases=(task.Request,), kw_only=True, frozen=True, forbid_unknown_fields=True
    )


_NAMED = msgspec.json.Decoder(_Named)
_encode = msgspec.json.Encoder(enc_hook=encode_array).encode
_encode_error = msgspec.json.Encoder(enc_hook=str).encode


class TaskLines:
    """Reads and answers lines as the endpoints of the tasks do; one bad line spoils only itself."""

    def __init__(
        self, tasks: Mapping[str, Task], repository: Repository, most_bytes: int, most_depth: int
    ) -> None:
        """Take the tasks, the models, and the limits of one line."""
        self._tasks = tasks
        self._decoders: dict[str, msgspec.json.Decoder[Any]] = {
            name: msgspec.json.Decoder(line_type(type(task))) for name, task in tasks.items()
        }
        self._repository = repository
        self._most_bytes = most_bytes
        self._most_depth = most_depth

    def check(self, task: str, line: Line) -> Result | None:
        """Return the result of a line that is no request, and nothing for a good one."""
        try:
            self._require_size(line)
            require_depth(line.body, self._most_depth)
            decode(self._decoders[task], line.body)
        except Exception as error:
            return _failure(line, error)
        return None

    async def answer(self, task: str, line: Line) -> Result:
        """Answer a line by its model, at the lowest priority.

        Raises:
            ExecutorLost, ModelNotReady, Overloaded, ShuttingDown: it may be answered later.
        """
        started = time.monotonic()
        try:
            request = self._decoders[task].decode(line.body)
            selector = {} if request.model else self._tasks[task].selector(request)
            model = self._repository.find(request.model, task, selector)
            limit_s = min(LINE_S, (request.timeout_ms or LINE_S * 1e3) / 1e3)
            answer, run = await model.answer(request, started + limit_s, Priority.BATCH)
            fields = answer_fields(answer, run, model, (time.monotonic() - started) * 1e3)
            body = _encode({"id": request.id, "index": line.number, "result": fields})
        except (ExecutorLost, ModelNotReady, Overloaded, ShuttingDown):
            raise
        except Exception as error:
            return _failure(line, error)
        return Result(line.number, body, failed=False)

    def _require_size(self, line: Line) -> None:
        if len(line.body) > self._most_bytes:
            raise PayloadTooLarge(
                f"the line is larger than {self._most_bytes} bytes ({variable('batch_max_line_bytes')})",
                max_bytes=self._most_bytes,
            )

    def give_up(self, line: Line, why: str) -> Result:
        """Return the result of a line that is not tried again."""
        return _failure(line, RunError(why))


def _failure(line: Line, error: Exception) -> Result:
    request_id = os.urandom(12).hex()
    before = REQUEST_ID.set(request_id)  # for the log line of an internal error, and no other
    try:
        told = LineError(_name_of(line), line.number, error_body(error, request_id))
    finally:
        REQUEST_ID.reset(before)
    return Result(line.number, _encode_error(told), failed=True)


def _name_of(line: Line) -> str | int | None:
    try:
        name = _NAMED.decode(line.body).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return name[:128] if isinstance(name, str) else name
