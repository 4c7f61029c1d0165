"""A bundle that answers as it does in a server: its task, its runtime, its batches, without HTTP.

What is measured through this is what a user gets. Nothing of the network's own code takes part, unless its
answers are compared with the network's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from server.contract.bundle import Bundle
from server.contract.manifest import RuntimeName
from server.errors import BundleError, EngramError
from server.runtime.lines import Priority
from server.runtime.loaded_model import LoadedModel
from server.runtime.options import RuntimeOptions
from server.runtime.session import OpenSession, open_session

AT_ONCE = 64
"""How many requests wait for their answer at a time."""


class Served:
    """A loaded model with an event loop of its own; use it in a ``with`` statement.

    ``open_session`` may be another than the server's, to compare graphs with the network.
    """

    def __init__(
        self,
        bundle: Bundle,
        runtime: RuntimeName | None = None,
        open_session: OpenSession = open_session,
        options: RuntimeOptions | None = None,
    ) -> None:
        options = options or RuntimeOptions(runtime=runtime, warm_up=False)
        self.bundle = bundle
        self._model = LoadedModel(bundle.folder, bundle.version, options, open_session)
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        """Load the bundle as a server does: checksums and golden probes included.

        Raises:
            BundleError: it cannot be served, with the reason.
        """
        self._runner.run(self._model.load())
        if self._model.state != "ready":
            self._runner.close()
            raise BundleError(self._model.reason or "the bundle cannot be served")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the model."""
        self._runner.run(self._model.close())
        self._runner.close()

    @property
    def measured_by(self) -> str:
        """What runs the graphs, for a result table."""
        return f"the server's task on {self._model.runtime}, {(self._model.device or '').upper()}"

    def answers(
        self, requests: Sequence[Any], progress: Callable[[int], Any] = lambda done: None
    ) -> list[Any]:
        """Answer many requests of the bundle's task, each joined to batches with whatever else waits.

        Args:
            requests: instances of the task's ``Request``; similar sizes side by side waste less.
            progress: told the number of requests answered so far.

        Returns:
            For each its answer, or the ``EngramError`` that a client would get.
        """
        return self._runner.run(self._answers(requests, progress))

    async def _answers(self, requests: Sequence[Any], progress: Callable[[int], Any]) -> list[Any]:
        results: list[Any] = [None] * len(requests)
        queue = iter(enumerate(requests))
        done = 0

        async def work() -> None:
            nonlocal done
            for place, request in queue:
                try:
                    results[place], _ = await self._model.answer(request, None, Priority.BATCH)
                except EngramError as error:
                    results[place] = error
                done += 1
                progress(done)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(AT_ONCE, len(requests))):
                group.create_task(work())
        return results
