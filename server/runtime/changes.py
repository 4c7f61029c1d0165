"""Loading, replacing and unloading models while others answer; changes of one name wait for each other."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Coroutine
from typing import Any

from server.errors import ModelNotFound
from server.runtime.loaded_model import LoadedModel
from server.runtime.model_table import ModelTable

logger = logging.getLogger(__name__)


class Changes:
    """Changes the models of a table.

    ``wanted`` holds what is asked for: ``name`` follows the newest version on disk, ``name:version`` is
    that one.
    """

    def __init__(self, table: ModelTable, candidate: Callable[[str], LoadedModel]) -> None:
        self.wanted: set[str] = set()
        self._table = table
        self._candidate = candidate
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._tasks: set[asyncio.Task[None]] = set()

    def wanted_of(self, name: str) -> set[str]:
        """Return how a bundle is asked for: by its name, by versions of it, or not at all."""
        return {reference for reference in self.wanted if reference.partition(":")[0] == name}

    async def load(self, reference: str) -> None:
        """Load from disk, verify, warm up, put in the table, and let go of what was there before.

        Raises:
            ModelNotFound: there is no such bundle or version.
            ModelNotReady: it cannot be served, and why; what was served before still is.
        """
        # A caller that leaves, or whose time is up, does not leave half a change behind.
        await asyncio.shield(self._keep(self._load(reference)))

    async def unload(self, reference: str) -> None:
        """Take a model out of service; what it has accepted is answered."""
        await asyncio.shield(self._keep(self._unload(reference)))

    async def settle(self) -> None:
        """Wait for changes in progress, and for replaced models to finish what they have."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _load(self, reference: str) -> None:
        name = reference.partition(":")[0]
        async with self._locks[name]:
            candidate = self._candidate(reference)
            if candidate.version == 0 or candidate.state == "failed":
                raise ModelNotFound(candidate.reason or f"there is no model {reference!r}")
            replaced = self._replaced_by(candidate, reference)
            served = [model for model in replaced if model.state == "ready"]
            if not served:
                self._table.put(candidate)  # so that requests hear that it is loading, or why it failed
            await self._verify(candidate)
            if candidate.state != "ready":
                for model in served:
                    model.reason = f"it was not replaced: {candidate.reason}"
                raise candidate.not_ready()
            for model in replaced:
                self._table.remove(model)
            self._table.put(candidate)
            self.wanted.add(reference)
            for model in served:
                self._keep(model.retire())

    def _replaced_by(self, candidate: LoadedModel, reference: str) -> list[LoadedModel]:
        """List what the candidate replaces: its own version, and for a bare name what that stood for."""
        name, _, pinned = reference.partition(":")
        replaced = []
        for model in self._table.versions(name):
            if model.version == candidate.version:
                candidate.statistics = model.statistics  # the same name goes on counting
                replaced.append(model)
            elif not pinned and f"{name}:{model.version}" not in self.wanted:
                replaced.append(model)
        return replaced

    async def _verify(self, candidate: LoadedModel) -> None:
        """Load a candidate, and make it the default that its manifest says it is."""
        await candidate.load()
        if candidate.state == "ready" and candidate.bundle is not None:
            reason = self._table.claim(candidate.bundle.manifest)
            if reason is not None:
                await candidate.close()
                candidate.fail(reason)

    async def _unload(self, reference: str) -> None:
        name, _, pinned = reference.partition(":")
        async with self._locks[name]:
            self.wanted -= {reference} if pinned else self.wanted_of(name)
            for model in self._table.versions(name):
                if model.state != "unloaded" and (not pinned or str(model.version) == pinned):
                    self._table.put(model.remains())
                    self._keep(model.retire())
            if all(model.state == "unloaded" for model in self._table.versions(name)):
                self.wanted -= self.wanted_of(name)
                self._table.release(name)
        logger.info("%s is unloaded", reference)

    def _keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start something that must end before the models are closed."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
