"""What the protocol's two doors, HTTP and gRPC, share."""

from __future__ import annotations

from dataclasses import dataclass

from server.api.lifecycle import Lifecycle, Stage
from server.api.open_inference.inference import Inference
from server.api.open_inference.served_models import Catalogue
from server.api.security import Keys
from server.runtime.repository import Repository
from server.settings import Settings


@dataclass(frozen=True, slots=True)
class Services:
    """The models, who may ask for them, and how to answer."""

    repository: Repository
    catalogue: Catalogue
    inference: Inference
    lifecycle: Lifecycle
    keys: Keys
    settings: Settings

    @classmethod
    def of(cls, repository: Repository, lifecycle: Lifecycle, keys: Keys, settings: Settings) -> Services:
        """Put them together."""
        catalogue = Catalogue(repository)
        inference = Inference(catalogue, lifecycle)
        return cls(repository, catalogue, inference, lifecycle, keys, settings)

    def is_ready(self) -> bool:
        """Say whether requests should be sent here."""
        return self.lifecycle.stage is Stage.SERVING and self.repository.is_ready()
