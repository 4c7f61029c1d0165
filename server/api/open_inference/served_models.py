"""The models as the protocol shows them: each by its tensors and, where its task has a text form, by words.

``NAME`` takes and returns the graph's tensors. ``NAME.text`` takes and returns text, so that a client needs
no tokenizer. Both are views on one ``LoadedModel`` and share its queue.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakKeyDictionary

from server.api.open_inference.messages import Parameters, priority_of
from server.api.open_inference.text_models import TEXT_FORMS, TextForm
from server.contract.manifest import NAME_PATTERN, TensorSpec
from server.contract.tensors import Array
from server.errors import ModelNotFound
from server.runtime.loaded_model import LoadedModel
from server.runtime.repository import Repository

TEXT = ".text"


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output: its datatype, its sizes with -1 for a free one, and names of its last axis."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    labels: Sequence[str] = ()


class ServedModel(Protocol):
    """One name of the protocol, ready to answer."""

    name: str
    loaded: LoadedModel
    inputs: Sequence[Port]
    outputs: Sequence[Port]

    async def infer(
        self, arrays: Mapping[str, Array], wanted: Sequence[str], parameters: Parameters, deadline: float
    ) -> tuple[Mapping[str, Array], Parameters]:
        """Run and return the wanted outputs, and what else there is to say.

        Raises:
            EngramError: the arrays do not fit, or what ``LoadedModel`` raises.
        """
        ...


class TensorModel:
    """A model by the tensors of its graph."""

    def __init__(self, loaded: LoadedModel) -> None:
        assert loaded.bundle is not None
        manifest = loaded.bundle.manifest
        self.name = loaded.name
        self.loaded = loaded
        self.inputs: Sequence[Port] = [_port(spec, ()) for spec in manifest.signature.inputs]
        self.outputs: Sequence[Port] = [_port(spec, manifest.answers) for spec in manifest.signature.outputs]

    async def infer(
        self, arrays: Mapping[str, Array], wanted: Sequence[str], parameters: Parameters, deadline: float
    ) -> tuple[Mapping[str, Array], Parameters]:
        """Run the graph; of the parameters only ``priority`` changes anything."""
        return await self.loaded.run(arrays, wanted, deadline, priority_of(parameters)), {}


class TextModel:
    """A model by the words of its task."""

    def __init__(self, loaded: LoadedModel, form: TextForm) -> None:
        self.name = loaded.name + TEXT
        self.loaded = loaded
        self.inputs: Sequence[Port] = [Port(*about) for about in form.inputs]
        self.outputs: Sequence[Port] = [Port(*about) for about in form.outputs]
        self._form = form

    async def infer(
        self, arrays: Mapping[str, Array], wanted: Sequence[str], parameters: Parameters, deadline: float
    ) -> tuple[Mapping[str, Array], Parameters]:
        """Answer every row of the request as the task does."""
        return await self._form.infer(self.loaded, arrays, wanted, parameters, deadline)


class Catalogue:
    """Names of the protocol to models."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._views: WeakKeyDictionary[LoadedModel, dict[str, ServedModel]] = WeakKeyDictionary()

    def find(self, name: str, version: str = "") -> ServedModel:
        """Return the model of this name, ready to answer; an empty version is the newest.

        Raises:
            ModelNotFound: there is no such name or version.
            ModelNotReady: it exists and cannot answer; the message says why.
        """
        loaded, name = self.look_up(name, version)
        if loaded.state != "ready":
            raise loaded.not_ready()
        views = self._views.get(loaded)
        if views is None:
            views = self._views[loaded] = _views(loaded)
        if name not in views:
            raise ModelNotFound(f"model {loaded.name!r} has no text form", models=list(views))
        return views[name]

    def look_up(self, name: str, version: str = "") -> tuple[LoadedModel, str]:
        """Return the model behind this name, whatever its state, and the name.

        Raises:
            ModelNotFound: there is no such name or version.
        """
        if not re.fullmatch(NAME_PATTERN, name):
            raise ModelNotFound(f"{name[:160]!r} is not a model name")
        wanted = f":{version}" if version else ""
        try:
            return self._repository.get(name + wanted), name
        except ModelNotFound:
            if not name.endswith(TEXT):
                raise
        return self._repository.get(name.removesuffix(TEXT) + wanted), name

    def is_ready(self, name: str, version: str = "") -> bool:
        """Say whether the model can answer.

        Raises:
            ModelNotFound: there is no such name or version.
        """
        return self.look_up(name, version)[0].state == "ready"

    def entries(self) -> Iterator[tuple[str, LoadedModel]]:
        """List every name with the version of the model behind it, ready or not."""
        for loaded in self._repository.models():
            yield loaded.name, loaded
            if loaded.task is not None and loaded.task.name in TEXT_FORMS:
                yield loaded.name + TEXT, loaded

    def versions(self, loaded: LoadedModel) -> list[str]:
        """List the versions of a model that can answer, the newest first."""
        same = (other for other in self._repository.models() if other.name == loaded.name)
        return [str(other.version) for other in same if other.state == "ready"]


def _views(loaded: LoadedModel) -> dict[str, ServedModel]:
    views: dict[str, ServedModel] = {loaded.name: TensorModel(loaded)}
    if loaded.task is not None and loaded.bundle is not None and loaded.task.name in TEXT_FORMS:
        text = TextModel(loaded, TEXT_FORMS[loaded.task.name](loaded.bundle.manifest))
        views[text.name] = text
    return views


def _port(spec: TensorSpec, answers: Sequence[str]) -> Port:
    shape = tuple(-1 if isinstance(dim, str) else dim for dim in spec.dims)
    return Port(spec.name, spec.datatype, shape, answers if shape[-1] == len(answers) else ())
