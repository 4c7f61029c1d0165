"""What a task is whose requests fall into parts: a long text into its sentences, say.

Each part walks through the step graph on its own, beside all others that wait or walk, so that a request of
many parts is joined, bounded and cut short like many requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec

from server.contract.bundle import Bundle
from server.errors import EngramError
from server.tasks.stepwise import StepwiseTask


@runtime_checkable
class PartedTask(StepwiseTask, Protocol):
    """A stepwise task that takes requests apart and puts answers together.

    ``prepare`` and ``begin`` take a part where other tasks take a request, and ``Search.answer`` answers it.
    The events of a part are streamed once all parts before it have ended: a part knows its own place.
    """

    def is_long(self, request: Any) -> bool:
        """Say whether taking this request apart may take long: it must not hold up others then."""
        ...

    def parts(self, request: Any, bundle: Bundle) -> Sequence[Any]:
        """Return the parts of a request, at least one.

        Raises:
            InputTooLong, InvalidRequest: the request as a whole cannot be taken; a part that cannot be says
                so in ``prepare``.
        """
        ...

    def whole(
        self, request: Any, parts: Sequence[Any], outcomes: Sequence[Any | EngramError], bundle: Bundle
    ) -> msgspec.Struct:
        """Return the task's answer.

        Args:
            request: what was asked.
            parts: what ``parts`` made of it.
            outcomes: for each part its answer, or why it has none.
            bundle: the model.

        Raises:
            EngramError: one of the outcomes, where the request has no answer without it.
        """
        ...
