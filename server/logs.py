"""Structured logs: one JSON object a line, or the same content as text for people.

``configure_logging`` is called once by ``python -m server``. Every line written while a request is handled
carries its id through ``REQUEST_ID``, and that of its trace, if there is one.
"""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

import orjson

from server.tracing import TRACE

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Id of the request that is being handled, for log lines written on its way."""


def configure_logging(
    level: str, form: Literal["auto", "json", "text"], stream: TextIO | None = None
) -> None:
    """Send everything, the HTTP server's own messages included, through one handler.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        form: ``auto`` is text on a terminal and JSON elsewhere.
        stream: where lines go, by default standard error.
    """
    stream = stream or sys.stderr
    as_text = form == "text" or (form == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # A request line is written for every request: leave out what no line shows.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.getLogger("uvicorn").setLevel(max(logging.WARNING, logging.getLogger().level))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, ids and the record's ``fields``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := REQUEST_ID.get():
            line["request_id"] = request_id
        if trace := TRACE.get():
            line["trace_id"] = trace.trace_id
        line |= _fields(record)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


class TextFormatter(logging.Formatter):
    """The same for people: time, level, message, then ``name=value`` for each field."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text; control characters are escaped, so one record stays one line."""
        fields = _fields(record)
        if request_id := REQUEST_ID.get():
            fields["request_id"] = request_id
        tail = "".join(f" {name}={value}" for name, value in fields.items())
        text = _escape(record.getMessage() + tail)
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return f"{_time(record)} {record.levelname:<7} {text}"


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return dict(getattr(record, "fields", {}))


def _escape(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
