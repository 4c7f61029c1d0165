"""The models of this process: found on disk, loaded, and looked up by name or by what they can do."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from server.contract.bundle import MANIFEST, read_manifest, versions_of
from server.contract.manifest import NAME_PATTERN
from server.errors import BundleError, ModelNotFound
from server.runtime.loaded_model import LoadedModel
from server.runtime.options import RuntimeOptions
from server.runtime.session import OpenSession, open_session

logger = logging.getLogger(__name__)

ASKED_FOR = re.compile(NAME_PATTERN.rstrip("$") + r"(:[1-9][0-9]{0,8})?$")
"""How a model to load is named; only such names reach a path."""

Purpose = tuple[str, frozenset[tuple[str, str | int]]]
"""A task and a selector: what at most one model is the default for."""


class Repository:
    """All models of a folder, one bundle per subfolder. A bad bundle fails alone, with its reason on show."""

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
            if not ASKED_FOR.fullmatch(name):
                raise ValueError(f"{name!r} is not a model name (ENGRAM_MODELS: name or name:version)")
        self._folder = folder
        self._options = options
        self._open_session = open_session
        self._names = tuple(dict.fromkeys(names))
        self._models: list[LoadedModel] = []
        self._by_name: dict[str, LoadedModel] = {}
        self._defaults: dict[Purpose, LoadedModel] = {}
        self._draining = False

    async def start(self) -> None:
        """Load the models. Never raises for a bad bundle or a missing name: its state and reason tell."""
        for name in self._names or _bundles_in(self._folder):
            self._add(name)
        self._models.sort(key=lambda model: (model.name, -model.version))
        for model in reversed(self._models):  # so that a bare name is left with the newest version
            self._by_name[model.name] = self._by_name[f"{model.name}:{model.version}"] = model
        for model in self._models:
            self._note_default(model)
        await asyncio.gather(*(model.load() for model in self._models if model.state == "loading"))

    def is_ready(self) -> bool:
        """Say whether requests can be served.

        True when a model is ready, none is loading, every model asked for by name is ready, and the
        repository is not draining.
        """
        states = {model.state for model in self._models}
        complete = states == {"ready"} if self._names else "ready" in states and "loading" not in states
        return complete and not self._draining

    def find(self, model: str | None, task: str, selector: Mapping[str, str | int]) -> LoadedModel:
        """Return the model for a request, ready to answer.

        Args:
            model: ``name`` (its newest version), ``name:version``, or ``None`` for the default.
            task: the task it must do.
            selector: what the default is for, such as ``{"source": "en", "target": "fr"}``.

        Raises:
            ModelNotFound: ``details["models"]`` lists the models of this task.
            ModelNotReady: it exists and cannot answer; the message says why.
        """
        if model is not None:
            found = self.get(model)
        elif (default := self._defaults.get((task, frozenset(selector.items())))) is not None:
            found = default
        else:
            raise self._not_found(f"no model is the default for task {task}{_for(selector)}", task)
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
        try:
            return self._by_name[model]
        except KeyError:
            raise self._not_found(f"there is no model {model[:160]!r}") from None

    def models(self) -> list[LoadedModel]:
        """List every version of every model, by name, the newest version first."""
        return list(self._models)

    def describe(self, name: str | None = None) -> dict[str, Any]:
        """Return the JSON of ``GET /v1/models/{name}``, or without a name that of ``GET /v1/models``.

        Raises:
            ModelNotFound: ``details["models"]`` lists what exists.
        """
        if name is not None:
            model = self.get(name)
            versions = [other.version for other in self._models if other.name == model.name]
            return model.describe() | {"versions": versions}
        names = dict.fromkeys(model.name for model in self._models)
        return {"models": [self.describe(name) for name in names]}

    async def drain(self) -> None:
        """Refuse new requests and wait until the accepted ones are answered."""
        self._draining = True
        await asyncio.gather(*(model.drain() for model in self._models))

    async def close(self) -> None:
        """Unload every model."""
        self._draining = True
        await asyncio.gather(*(model.close() for model in self._models))

    def _add(self, name: str) -> None:
        """Add the model of this name; what is missing makes it a failed one."""
        bare, _, wanted = name.partition(":")
        folder = self._folder / bare
        versions = versions_of(folder) if folder.is_dir() else []
        version = int(wanted) if wanted else max(versions, default=0)
        model = LoadedModel(folder, version, self._options, self._open_session)
        self._models.append(model)
        if not (folder / MANIFEST).is_file():
            model.fail(f"the model repository has no bundle {bare!r}")
        elif version not in versions:
            model.fail(
                f"the bundle has no version {version}, it has {versions}"
                if wanted
                else "the bundle has no versions"
            )

    def _note_default(self, model: LoadedModel) -> None:
        """Note what the model is the default for; a second default for the same is an error."""
        try:
            manifest = read_manifest(self._folder / model.name)
        except BundleError:
            return  # loading says why
        if not manifest.default or self._by_name[model.name] is not model:
            return
        purpose = (manifest.task, frozenset(manifest.selector.items()))
        first = self._defaults.setdefault(purpose, model)
        if first is not model:
            what = f"task {manifest.task}{_for(manifest.selector)}"
            model.fail(f"{first.name} is the default for {what} already (manifest: default)")

    def _not_found(self, message: str, task: str | None = None) -> ModelNotFound:
        known = sorted({model.name for model in self._models if task is None or _does(model, task)})
        listed = f"; there are {', '.join(known)}" if known else "; there is none"
        return ModelNotFound(message + listed, models=known)


def _bundles_in(folder: Path) -> Iterator[str]:
    if not folder.is_dir():
        logger.error("the model repository is no folder")
        return
    for entry in sorted(folder.iterdir()):
        if (entry / MANIFEST).is_file() and re.fullmatch(NAME_PATTERN, entry.name):
            yield entry.name


def _does(model: LoadedModel, task: str) -> bool:
    return model.task is not None and model.task.name == task


def _for(selector: Mapping[str, str | int]) -> str:
    return " with " + ", ".join(f"{key} {value}" for key, value in selector.items()) if selector else ""
