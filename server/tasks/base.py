"""What a task is: the pure functions between a request and named arrays.

A task knows words and arrays and nothing of HTTP, threads or runtimes. ``server.tasks.TASKS`` lists them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import msgspec

from server.contract.bundle import Bundle
from server.contract.tensors import Array


@dataclass(frozen=True, slots=True)
class Prepared:
    """One request as named arrays (no batch axis), with what the task needs to put words on the result.

    ``outputs`` names the graph outputs this request needs; ``context`` is private to the task. ``rows`` is
    the most hypotheses that a stepwise task keeps at a time: what the request counts for while it runs.
    ``is_streamed`` says that somebody waits for the events of its steps.
    """

    arrays: Mapping[str, Array]
    outputs: tuple[str, ...]
    context: Any
    rows: int = 1
    is_streamed: bool = False


class Task(Protocol):
    """A request-and-answer form. ``Request`` and ``Answer`` are the task's own frozen types.

    Its models answer in one run (``SingleRunTask``) or step by step (``server.tasks.stepwise.StepwiseTask``).

    Errors about a request carry ``details["fields"]``, a list of paths such as ``story[3]``.
    """

    name: ClassVar[str]
    Request: ClassVar[type[msgspec.Struct]]
    Answer: ClassVar[type[msgspec.Struct]]

    def __init__(self, max_attention_weights: int = 100_000) -> None:
        """Take the largest attention that is sent in full; beyond it an answer carries top rows."""
        ...

    def selector(self, request: Any) -> Mapping[str, str | int]:
        """Return what picks the default model for this request, among those of the task."""
        ...

    def check(self, bundle: Bundle) -> None:
        """Make sure that the bundle has everything this task needs.

        Raises:
            BundleError: a limit, a tensor, the vocabulary or the answers are missing or do not fit.
        """
        ...

    def prepare(self, request: Any, bundle: Bundle) -> Prepared:
        """Turn a request into named arrays.

        Raises:
            InputTooLong, UnknownWords, InvalidRequest: the model cannot take this request.
        """
        ...


@runtime_checkable
class SingleRunTask(Task, Protocol):
    """A task whose models answer in one run of their graph."""

    def interpret(self, outputs: Mapping[str, Array], prepared: Prepared, bundle: Bundle) -> Any:
        """Turn one request's outputs (padding removed) into the task's answer.

        Raises:
            RunError: the graph returned something that is not a number.
        """
        ...
