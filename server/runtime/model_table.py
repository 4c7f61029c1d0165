"""Which loaded model stands behind a name, a version or a purpose.

Every change is one step of the event loop, so a request sees the table before it or after it.
"""

from __future__ import annotations

from collections.abc import Mapping

from server.contract.manifest import Manifest
from server.runtime.loaded_model import LoadedModel

Selector = Mapping[str, str | int]
Purpose = tuple[str, frozenset[tuple[str, str | int]]]
"""A task and a selector: what at most one name is the default for."""


class ModelTable:
    """Models by ``name:version``, by ``name`` and by purpose."""

    def __init__(self) -> None:
        self._models: dict[tuple[str, int], LoadedModel] = {}
        self._by_name: dict[str, LoadedModel] = {}
        self._defaults: dict[Purpose, str] = {}

    def models(self) -> list[LoadedModel]:
        """List every version of every model, by name, the newest version first."""
        return sorted(self._models.values(), key=lambda model: (model.name, -model.version))

    def versions(self, name: str) -> list[LoadedModel]:
        """List the versions of a model, the newest first."""
        return [model for model in self.models() if model.name == name]

    def get(self, reference: str) -> LoadedModel | None:
        """Return the model behind ``name:version`` or ``name``.

        A bare name is its newest version that is ready, or else its newest that is not unloaded.
        """
        return self._by_name.get(reference)

    def default(self, task: str, selector: Selector) -> LoadedModel | None:
        """Return the model for requests that name none: the only default whose selector has what is asked."""
        name = self._defaults.get((task, frozenset(selector.items())))
        if name is None:
            wider = [held for of, held in self.purposes(task).items() if selector.items() <= of]
            name = wider[0] if len(wider) == 1 else None
        return None if name is None else self._by_name.get(name)

    def purposes(self, task: str) -> dict[frozenset[tuple[str, str | int]], str]:
        """Return the selectors for which a task has defaults, with the names of those."""
        return {selector: name for (of, selector), name in self._defaults.items() if of == task}

    def put(self, model: LoadedModel) -> None:
        """Add a model or take note of its new state; it takes the place of one of the same version."""
        self._models[model.name, model.version] = model
        self._index(model.name)

    def remove(self, model: LoadedModel) -> None:
        """Take a model out, unless another one has taken its place."""
        if self._models.get((model.name, model.version)) is model:
            del self._models[model.name, model.version]
            self._index(model.name)

    def claim(self, manifest: Manifest) -> str | None:
        """Make the name the default its manifest says it is, and of nothing else.

        Returns:
            What speaks against it: another name that is the default already.
        """
        purpose = (manifest.task, frozenset(manifest.selector.items()))
        holder = self._defaults.get(purpose, manifest.name)
        if manifest.default and holder != manifest.name:
            what = f"task {manifest.task}{described(manifest.selector)}"
            return f"{holder} is the default for {what} already (manifest: default)"
        self.release(manifest.name)
        if manifest.default:
            self._defaults[purpose] = manifest.name
        return None

    def release(self, name: str) -> None:
        """Make the name the default of nothing."""
        self._defaults = {purpose: holder for purpose, holder in self._defaults.items() if holder != name}

    def _index(self, name: str) -> None:
        """Look up anew what stands behind a name and behind each of its versions."""
        versions = self.versions(name)
        kept = {key: model for key, model in self._by_name.items() if model.name != name}
        kept |= {f"{name}:{model.version}": model for model in versions}
        if versions:
            kept[name] = max(versions, key=lambda model: (model.state == "ready", model.state != "unloaded"))
        self._by_name = kept


def described(selector: Selector) -> str:
    """Return a selector as words that follow the name of a task."""
    return " with " + ", ".join(f"{key} {value}" for key, value in selector.items()) if selector else ""
