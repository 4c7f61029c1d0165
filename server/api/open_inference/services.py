"""What the protocol's two doors, HTTP and gRPC, share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from server.api.lifecycle import Lifecycle, Stage
from server.api.metrics import Metrics
from server.api.open_inference.descriptions import statistics
from server.api.open_inference.inference import Inference
from server.api.open_inference.served_models import Catalogue
from server.api.security import Keys
from server.runtime.repository import Repository
from server.settings import Settings
from server.tracing import Tracer


@dataclass(frozen=True, slots=True)
class Services:
    """The models, who may ask for them, and how to answer."""

    repository: Repository
    catalogue: Catalogue
    inference: Inference
    lifecycle: Lifecycle
    keys: Keys
    metrics: Metrics
    settings: Settings
    tracer: Tracer | None

    @classmethod
    def of(
        cls,
        repository: Repository,
        lifecycle: Lifecycle,
        keys: Keys,
        metrics: Metrics,
        settings: Settings,
        *,
        tracer: Tracer | None,
    ) -> Services:
        """Put them together."""
        catalogue = Catalogue(repository)
        inference = Inference(catalogue, lifecycle)
        return cls(repository, catalogue, inference, lifecycle, keys, metrics, settings, tracer)

    def is_ready(self) -> bool:
        """Say whether requests should be sent here."""
        return self.lifecycle.stage is Stage.SERVING and self.repository.is_ready()

    async def statistics(self, name: str = "", version: str = "") -> dict[str, Any]:
        """Return the counts of one model or of all, over every process of the server.

        Raises:
            ModelNotFound: there is no such name or version.
        """
        if not name:
            return statistics((model.name, model) for model in (await self.metrics.total()).models)
        loaded, name = self.catalogue.look_up(name, version)
        models = (await self.metrics.total()).models
        return statistics(
            (name, model) for model in models if (model.name, model.version) == (loaded.name, loaded.version)
        )
