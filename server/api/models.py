"""``GET /v1/models``: what is served, on what, how good it is, and which words it knows."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.api.http_errors import NotFound
from server.api.negotiation import json_response
from server.runtime.loaded_model import State
from server.runtime.repository import Repository


class ModelCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a model is, what it runs on, what it was trained on and how it was measured.

    ``reason`` says why a model is not ready. ``device`` is where the graph really runs. ``parity`` is the
    certificate of its export. A model whose manifest could not be read has only the first seven fields.
    """

    name: str
    version: int
    versions: list[int]
    state: State
    reason: str | None
    runtime: str | None
    device: str | None
    task: str | UnsetType = UNSET
    family: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    selector: dict[str, str | int] | UnsetType = UNSET
    default: bool | UnsetType = UNSET
    limits: dict[str, int] | UnsetType = UNSET
    languages: list[str] | UnsetType = UNSET
    answers: list[str] | UnsetType = UNSET
    metrics: dict[str, Any] | UnsetType = UNSET
    training: dict[str, Any] | UnsetType = UNSET
    data: list[dict[str, Any]] | UnsetType = UNSET
    parity: dict[str, Any] | UnsetType | None = UNSET


class ModelList(msgspec.Struct, frozen=True):
    """Every model of the repository, whatever its state."""

    models: list[ModelCard]


class VocabularyList(msgspec.Struct, frozen=True):
    """The words a word-level model knows, in the order of their ids."""

    model: str
    words: list[str]


def model_routes(repository: Repository) -> list[Route]:
    """Return the routes below ``/v1/models``."""

    async def list_models(request: Request) -> Response:
        return json_response(request.scope, repository.describe())

    async def show_model(request: Request) -> Response:
        return json_response(request.scope, repository.describe(request.path_params["name"]))

    async def show_vocabulary(request: Request) -> Response:
        model = repository.get(request.path_params["name"])
        if model.bundle is None:
            raise model.not_ready()
        if model.bundle.vocabulary is None:
            raise NotFound(f"{model.name} does not read words")
        words = model.bundle.vocabulary.words
        return json_response(request.scope, VocabularyList(f"{model.name}:{model.version}", words))

    return [
        Route("/v1/models", list_models, methods=["GET"]),
        Route("/v1/models/{name}", show_model, methods=["GET"]),
        Route("/v1/models/{name}/vocabulary", show_vocabulary, methods=["GET"]),
    ]
