"""``GET /v1/models``: what is served, on what, how good it is, and which words it knows."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.api.http_errors import NotFound
from server.api.negotiation import json_response
from server.errors import ModelNotReady
from server.runtime.repository import Repository


class ModelCard(msgspec.Struct, frozen=True):
    """What a model is, what it runs on, what it was trained on and how it was measured.

    ``state`` is loading, ready, failed or unloaded, and ``reason`` says why it is not ready.
    ``device`` is where the graph really runs. ``parity`` is the certificate of its export.
    """

    name: str
    task: str
    family: str
    versions: list[dict[str, Any]]
    state: str
    reason: str | None
    runtime: str | None
    device: str | None
    limits: dict[str, int]
    languages: list[str]
    metrics: dict[str, Any]
    training: dict[str, Any]
    data: list[dict[str, Any]]
    parity: dict[str, Any] | None


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
            raise ModelNotReady(f"{model.name} is {model.state}: {model.reason}")
        if model.bundle.vocabulary is None:
            raise NotFound(f"{model.name} does not read words")
        words = model.bundle.vocabulary.words
        return json_response(request.scope, VocabularyList(f"{model.name}:{model.version}", words))

    return [
        Route("/v1/models", list_models, methods=["GET"]),
        Route("/v1/models/{name}", show_model, methods=["GET"]),
        Route("/v1/models/{name}/vocabulary", show_vocabulary, methods=["GET"]),
    ]
