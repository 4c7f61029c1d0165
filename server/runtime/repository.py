"""The models of this process: found on disk, loaded, and looked up by name or by what they can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from server.runtime.loaded_model import LoadedModel
from server.runtime.options import RuntimeOptions


class Repository:
    """All models of a folder, one bundle per subfolder. A bad bundle fails alone, with its reason on show."""

    def __init__(self, folder: Path, options: RuntimeOptions, names: Sequence[str] = ()) -> None:
        """Take the folder, how to run its models, and which to load: ``name`` or ``name:version``, empty for all."""
        raise NotImplementedError

    async def start(self) -> None:
        """Load the models. Never raises for a bad bundle or a missing name: its state and reason tell."""

    def is_ready(self) -> bool:
        """Say whether requests can be served.

        True when at least one model is ready, every model asked for by name is ready, and the repository is not
        draining.
        """
        raise NotImplementedError

    def find(self, model: str | None, task: str, selector: Mapping[str, str | int]) -> LoadedModel:
        """Return the model for a request, ready to answer.

        Args:
            model: ``name`` (its newest version), ``name:version``, or ``None`` for the default of task and selector.
            task: the task it must do.
            selector: what the default is for, such as ``{"source": "en", "target": "fr"}``.

        Raises:
            ModelNotFound: ``details["models"]`` lists the models of this task.
            ModelNotReady: it exists and cannot answer; the message says why.
        """
        raise NotImplementedError

    def get(self, model: str) -> LoadedModel:
        """Return a model by ``name`` or ``name:version`` in whatever state it is.

        Raises:
            ModelNotFound: ``details["models"]`` lists what exists.
        """
        raise NotImplementedError

    def models(self) -> list[LoadedModel]:
        """List every version of every model, by name, the newest version first."""
        raise NotImplementedError

    def describe(self, name: str | None = None) -> Any:
        """Return the JSON of ``GET /v1/models/{name}``, or without a name the list for ``GET /v1/models``.

        Raises:
            ModelNotFound: ``details["models"]`` lists what exists.
        """
        raise NotImplementedError

    async def drain(self) -> None:
        """Refuse new requests and wait until the accepted ones are answered."""

    async def close(self) -> None:
        """Unload every model."""
