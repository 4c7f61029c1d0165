"""Loading and unloading by request: the seam between the protocol and the repository."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from server.api.http_errors import Unsupported
from server.contract.manifest import NAME_PATTERN
from server.errors import InvalidRequest
from server.runtime.repository import Repository

HARMLESS = frozenset({"unload_dependents"})
"""Parameters that clients always send and that change nothing here."""


async def change_repository(
    repository: Repository, verb: Literal["load", "unload"], name: str, parameters: Iterable[str]
) -> None:
    """Load or unload a model. The caller has made sure that an admin asks.

    Args:
        repository: the models.
        verb: what to do.
        name: the model.
        parameters: the names of the parameters that came along.

    Raises:
        InvalidRequest: the name cannot be that of a model.
        Unsupported: the request brings its own configuration or files.
        EngramError: what the repository raises.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise InvalidRequest(f"{name[:160]!r} is not a model name", fields=["model_name"])
    if not HARMLESS.issuperset(parameters):
        raise Unsupported("a model is loaded as its bundle describes it, without overrides")
    await (repository.load(name) if verb == "load" else repository.unload(name))
