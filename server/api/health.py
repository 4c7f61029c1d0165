"""``GET /health/live`` and ``/health/ready``: whether the process lives, whether it should get requests."""

from __future__ import annotations

from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.api.exchange import exchange_of
from server.api.lifecycle import Lifecycle, Stage
from server.api.negotiation import json_response
from server.api.security import Keys
from server.errors import ModelNotReady, ShuttingDown
from server.runtime.repository import Repository


class Health(msgspec.Struct, frozen=True):
    """A good answer to a probe; anything else is an error."""

    status: Literal["live", "ready"]


def health_routes(repository: Repository, lifecycle: Lifecycle, keys: Keys) -> list[Route]:
    """Return the routes below ``/health``; which models there are is told only to those who may ask."""

    async def live(request: Request) -> Response:
        return json_response(request.scope, Health("live"))

    async def ready(request: Request) -> Response:
        if lifecycle.stage is not Stage.SERVING:
            raise ShuttingDown("the server is shutting down")
        if not repository.is_ready():
            why = "not every model that was asked for is ready"
            if keys.identify(exchange_of(request.scope).headers) is None:
                raise ModelNotReady(why)
            models = [
                {
                    "name": model.name,
                    "version": model.version,
                    "state": model.state,
                    "executors": model.executors,
                    "reason": model.reason,
                }
                for model in repository.models()
            ]
            raise ModelNotReady(why, models=models)
        return json_response(request.scope, Health("ready"))

    return [
        Route("/health/live", live, methods=["GET"]),
        Route("/health/ready", ready, methods=["GET"]),
    ]
