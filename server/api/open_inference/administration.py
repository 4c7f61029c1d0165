"""Loading and unloading by request: the seam between the protocol and the repository."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

from server.api.http_errors import Unsupported
from server.contract.manifest import NAME_PATTERN
from server.errors import InvalidRequest
from server.runtime.repository import Repository

HARMLESS = ("unload_dependents",)
"""Parameters that clients always send and that change nothing here."""


async def change_repository(
    repository: Repository, verb: Literal["load", "unload"], name: str, parameters: Mapping[str, Any]
) -> None:
    """Load or unload a model. The caller has made sure that an admin asks.

    Raises:
        InvalidRequest: the name cannot be that of a model.
        Unsupported: the request brings its own configuration or files, or nothing can be loaded at run time.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise InvalidRequest(f"{name[:160]!r} is not a model name", fields=["model_name"])
    if any(key not in HARMLESS for key in parameters):
        raise Unsupported("a model is loaded as its bundle describes it, without overrides")
    change: Callable[[str], Awaitable[object]] | None = getattr(repository, verb, None)
    if change is None:
        raise Unsupported("this server loads its models when it starts")
    await change(name)
