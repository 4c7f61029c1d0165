"""What a task is: the pure functions between a request and named arrays.

A task knows words and arrays and nothing of HTTP, threads or runtimes. ``server.tasks.TASKS`` lists them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from server.contract.bundle import Bundle
from server.contract.tensors import Array


@dataclass(frozen=True, slots=True)
class Prepared:
    """One request as named arrays (no batch axis), with what ``interpret`` needs to put words on the result.

    ``outputs`` names the graph outputs this request needs; ``context`` is private to the task.
    """

    arrays: Mapping[str, Array]
    outputs: tuple[str, ...]
    context: Any


class Task(Protocol):
    """A request-and-answer form. ``Request`` and ``Answer`` are the task's own frozen types."""

    name: str

    def prepare(self, request: Any, bundle: Bundle) -> Prepared:
        """Turn a request into named arrays.

        Raises:
            InputTooLong, UnknownWords, InvalidRequest: the model cannot take this request.
        """
        ...

    def interpret(self, outputs: Mapping[str, Array], prepared: Prepared, bundle: Bundle) -> Any:
        """Turn one request's outputs (padding removed) into the task's answer."""
        ...
