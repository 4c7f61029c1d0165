"""The models of this process: found on disk, loaded, replaced and unloaded, and looked up for requests."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from server.contract.bundle import MANIFEST, read_manifest, versions_of
from server.contract.manifest import NAME_PATTERN
from server.errors import BundleError, ModelNotFound, ShuttingDown
from server.runtime.changes import Changes
from server.runtime.loaded_model import LoadedModel
from server.runtime.model_table import ModelTable, Selector, described
from server.runtime.options import RuntimeOptions
from server.runtime.session import OpenSession, open_session

logger = logging.getLogger(__name__)

REFERENCE = re.compile(NAME_PATTERN.rstrip("$") + r"(:[1-9][0-9]{0,8})?$")
"""``name`` or ``name:version``; only such names reach a path."""

Spread = Callable[[Literal["load", "unload"], str], Awaitable[None]]
"""What has a change made in every process of the server, this one included."""


class Repository:
    """All models of a folder, one bundle per subfolder. A bad bundle fails alone, with its reason on show.

    ``spread`` is set where several processes serve together: ``load`` and ``unload`` go through it, and it
    calls ``load_here`` and ``unload_here`` in each.
    """

    def __init__(
        self,
        folder: Path,
        options: RuntimeOptions,
        names: Sequence[str] = (),
        open_session: OpenSession = open_session,
    ) -> None:
        """Take the folder, how to run its models, and which to load.

        Args:
            folder: the model repository.
            options: how models run.
            names: ``name`` (the newest version) or ``name:version``; none loads every bundle of the folder.
            open_session: what opens the sessions of the models.

        Raises:
            ValueError: one of the names cannot be the name of a model.
        """
        for name in names:
            if not REFERENCE.fullmatch(name):
                raise ValueError(f"{name!r} is not a model name (ENGRAM_MODELS: name or name:version)")
        self.folder = folder
        self.spread: Spread | None = None
        self._options = options
        self._open_session = open_session
        self._names = tuple(dict.fromkeys(names))
        self._table = ModelTable()
        self._changes = Changes(self._table, self._candidate)
        self._started = False
        self._draining = False

    async def start(self) -> None:
        """Load the models. Never raises for a bad bundle or a missing name: its state and reason tell."""
        self._changes.wanted.update(self._names or bundles_in(self.folder))
        for reference in sorted(self._changes.wanted):
            model = self._candidate(reference)
            if self._table.get(f"{model.name}:{model.version}") is None:
                self._table.put(model)
        for model in self._table.models():
            self._claim_default(model)
        await asyncio.gather(*(self._load_first(model) for model in self._table.models()))
        self._started = True

    def is_ready(self) -> bool:
        """Say whether requests can be served.

        True once the start is over and until the end begins, when every model that was asked for by name
        is ready, at least one is, and none is without an executor. What was unloaded on request is no
        longer asked for: a server stays ready when its last model is unloaded.
        """
        if not self._started or self._draining:
            return False
        models = [model for model in self._table.models() if model.state != "unloaded"]
        asked_for = [self._table.get(name) for name in self._names if name in self._changes.wanted]
        complete = all(model is not None and model.state == "ready" for model in asked_for)
        ready = [model for model in models if model.state == "ready"]
        emptied = not models and bool(self._table.models())
        return complete and (bool(ready) or emptied) and all(model.executors for model in ready)

    def find(self, model: str | None, task: str, selector: Selector) -> LoadedModel:
        """Return the model for a request, ready to answer.

        Args:
            model: ``name`` (its newest version), ``name:version``, or ``None`` for the default.
            task: the task it must do.
            selector: what the default is for, such as ``{"source": "en", "target": "fr"}``; a part of that
                is enough where only one default fits.

        Raises:
            ModelNotFound: ``details["models"]`` lists the models of this task.
            ModelNotReady: it exists and cannot answer; the message says why.
        """
        found = self._table.default(task, selector) if model is None else self.get(model)
        if found is None:
            raise self._no_default(task, selector)
        if found.state != "ready":
            raise found.not_ready()
        if found.task is None or found.task.name != task:
            raise self._not_found(f"model {found.name} does not do task {task}", task)
        return found

    def get(self, model: str) -> LoadedModel:
        """Return a model by ``name`` or ``name:version`` in whatever state it is.

        Raises:
            ModelNotFound: ``details["models"]`` lists what exists.
        """
        found = self._table.get(model)
        if found is None:
            raise self._not_found(f"there is no model {model[:160]!r}")
        return found

    def models(self) -> list[LoadedModel]:
        """List every version of every model, by name, the newest version first."""
        return self._table.models()

    def describe(self, name: str | None = None) -> dict[str, Any]:
        """Return the JSON of ``GET /v1/models/{name}``, or without a name that of ``GET /v1/models``.

        Raises:
            ModelNotFound: ``details["models"]`` lists what exists.
        """
        if name is not None:
            model = self.get(name)
            return model.describe() | {"versions": [own.version for own in self._table.versions(model.name)]}
        names = dict.fromkeys(model.name for model in self._table.models())
        return {"models": [self.describe(name) for name in names]}

    async def load(self, name: str, version: int | None = None) -> None:
        """Load a model, or load it again from disk, in every process of the server.

        A bare name follows the newest version on disk, which replaces the one that it stood for before. A
        version loaded by its number stays beside the others until it is unloaded. What is replaced answers
        until its successor is verified and warm, finishes what it has and is closed.

        Raises:
            ModelNotFound: there is no such bundle or version.
            ModelNotReady: it cannot be served, and why; what was served before still is.
            ShuttingDown: the server is about to end.
        """
        await self._change("load", name, version)

    async def unload(self, name: str, version: int | None = None) -> None:
        """Unload every version of a model, or one, in every process; accepted requests are answered.

        Raises:
            ModelNotFound: there is no such model or version.
        """
        await self._change("unload", name, version)

    async def load_here(self, reference: str) -> None:
        """Load ``name`` or ``name:version`` in this process alone; otherwise like ``load``."""
        if self._draining:
            raise ShuttingDown("the server is shutting down")
        await self._changes.load(reference)

    async def unload_here(self, reference: str) -> None:
        """Unload ``name`` or ``name:version`` in this process alone; otherwise like ``unload``."""
        self.get(reference)
        await self._changes.unload(reference)

    def wanted(self, name: str) -> list[str]:
        """List what to load of a bundle: versions or the name, as asked for, or nothing."""
        asked_for = {each for each in self._names if each.partition(":")[0] == name}
        return sorted(asked_for | self._changes.wanted_of(name)) or ([] if self._names else [name])

    async def drain(self) -> None:
        """Refuse new requests and wait until the accepted ones are answered."""
        self._draining = True
        await asyncio.gather(*(model.drain() for model in self._table.models()))

    async def close(self) -> None:
        """Unload every model."""
        self._draining = True
        await self._changes.settle()
        await asyncio.gather(*(model.close() for model in self._table.models()))

    async def _change(self, verb: Literal["load", "unload"], name: str, version: int | None) -> None:
        reference = name if version is None else f"{name}:{version}"
        if not REFERENCE.fullmatch(reference):
            raise self._not_found(f"{reference[:160]!r} is not the name of a model")
        if self.spread is not None:
            await self.spread(verb, reference)
        else:
            await {"load": self.load_here, "unload": self.unload_here}[verb](reference)

    def _candidate(self, reference: str) -> LoadedModel:
        """Return a model to load for this name; what is missing on disk makes it a failed one."""
        name, _, wanted = reference.partition(":")
        folder = self.folder / name
        versions = versions_of(folder) if folder.is_dir() else []
        version = int(wanted) if wanted else max(versions, default=0)
        model = LoadedModel(folder, version, self._options, self._open_session)
        if not (folder / MANIFEST).is_file():
            model.fail(f"the model repository has no bundle {name!r}")
        elif version not in versions:
            model.fail(
                f"the bundle has no version {version}, it has {versions}"
                if wanted
                else "the bundle has no versions"
            )
        return model

    async def _load_first(self, model: LoadedModel) -> None:
        if model.state == "loading":
            await model.load()
        self._table.put(model)

    def _claim_default(self, model: LoadedModel) -> None:
        """Note what the model is the default for, before it loads: requests then hear that it is loading."""
        try:
            manifest = read_manifest(self.folder / model.name)
        except BundleError:
            return  # loading says why
        if manifest.name == model.name and (reason := self._table.claim(manifest)):
            model.fail(reason)

    def _no_default(self, task: str, selector: Selector) -> ModelNotFound:
        """Say which defaults there are, where they differ in what they are for."""
        purposes = [dict(sorted(one)) for one in self._table.purposes(task) if one]
        message = f"no model is the default for task {task}{described(selector)}"
        if any(selector.items() <= purpose.items() for purpose in purposes):
            message = f"task {task}{described(selector)} has several models"
        if purposes:
            message += "; there are defaults" + " and".join(sorted(map(described, purposes)))
        return self._not_found(message, task)

    def _not_found(self, message: str, task: str | None = None) -> ModelNotFound:
        known = sorted({model.name for model in self.models() if task is None or _does(model, task)})
        listed = f"; there are {', '.join(known)}" if known else "; there is none"
        return ModelNotFound(message + listed, models=known)


def bundles_in(folder: Path) -> Iterator[str]:
    """Yield the names of the bundles in a model repository."""
    if not folder.is_dir():
        logger.error("the model repository is no folder")
        return
    for entry in sorted(folder.iterdir()):
        if (entry / MANIFEST).is_file() and re.fullmatch(NAME_PATTERN, entry.name):
            yield entry.name


def _does(model: LoadedModel, task: str) -> bool:
    return model.task is not None and model.task.name == task
