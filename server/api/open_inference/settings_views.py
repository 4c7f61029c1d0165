"""What the protocol asks about logging, tracing and shared memory: told where known, never changed from here.

No answer names a file, and no request can set one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.api.http_errors import Unsupported
from server.settings import Settings

_LEVELS = ("info", "warning", "error")


def log_settings(settings: Settings) -> dict[str, Any]:
    """Return which levels are logged, in Triton's words."""
    lowest = "info" if settings.log_level == "debug" else settings.log_level
    logged = {f"log_{level}": _LEVELS.index(level) >= _LEVELS.index(lowest) for level in _LEVELS}
    return logged | {"log_verbose_level": int(settings.log_level == "debug"), "log_format": "default"}


def trace_settings() -> dict[str, list[str]]:
    """Return that nothing is traced this way."""
    return {"trace_level": ["OFF"], "trace_rate": ["1000"], "trace_count": ["-1"], "log_frequency": ["0"]}


def refuse_changes(changes: Mapping[str, Any]) -> None:
    """Raise Unsupported unless there is nothing to change."""
    if changes:
        raise Unsupported("logging and tracing are set when the server starts, not by requests")


def refuse_region() -> None:
    """Raise Unsupported: regions of shared memory can neither be registered nor be asked about."""
    raise Unsupported("shared memory is not supported, send tensors in the request")
