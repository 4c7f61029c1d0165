"""The application: routes, error handlers and the lifespan that starts and stops the repository."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any

from fastapi import FastAPI
from starlette.routing import BaseRoute, Route

from server import __version__
from server.api.error_handlers import install_error_handlers
from server.api.exchange import ExchangeMiddleware
from server.api.health import health_routes
from server.api.lifecycle import Lifecycle, Stage
from server.api.models import model_routes
from server.api.openapi import document
from server.api.task_endpoints import BatchEndpoint, TaskEndpoint, TaskService
from server.runtime.options import RuntimeOptions
from server.runtime.repository import Repository
from server.settings import Settings
from server.tasks import TASKS


class EngramApp(FastAPI):
    """FastAPI for its documentation pages; every route of ours is a plain one, which costs far less."""

    def __init__(self, settings: Settings, repository: Repository) -> None:
        self.settings = settings
        self.repository = repository
        self.lifecycle = Lifecycle()
        super().__init__(
            title="Engram",
            version=__version__,
            redoc_url=None,
            redirect_slashes=False,
            lifespan=self._life,
            telemetry={"tracing": False, "metrics": False, "logs": False},  # asking costs 13 us a request
        )
        self.router.routes[:0] = self._own_routes()  # first, so that a hot route is the first match
        self.add_middleware(
            ExchangeMiddleware, lifecycle=self.lifecycle, gzip_min_bytes=settings.gzip_min_bytes
        )
        install_error_handlers(self)

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document behind ``/docs``."""
        return self._document

    @cached_property
    def _document(self) -> dict[str, Any]:
        return document(self.title, self.version, TASKS.values(), self.settings.max_batch_items)

    def _own_routes(self) -> list[BaseRoute]:
        routes: list[BaseRoute] = []
        for name, task in TASKS.items():
            service = TaskService(task(), self.repository, self.settings, self.lifecycle)
            routes.append(Route(f"/v1/{name}", TaskEndpoint(service), methods=["POST"]))
            routes.append(Route(f"/v1/{name}/batch", BatchEndpoint(service), methods=["POST"]))
        return [*routes, *health_routes(self.repository, self.lifecycle), *model_routes(self.repository)]

    @asynccontextmanager
    async def _life(self, _: FastAPI) -> AsyncIterator[None]:
        await self.repository.start()
        yield
        self.lifecycle.stage = Stage.STOPPING
        await self.repository.drain()
        await self.repository.close()


def create_app(settings: Settings, repository: Repository | None = None) -> EngramApp:
    """Build the application.

    Args:
        settings: every knob.
        repository: the models, not started yet; without it the settings' folder is opened.

    Raises:
        ValueError: the settings ask for a model by an impossible name.
    """
    return EngramApp(settings, repository or open_repository(settings))


def open_repository(settings: Settings) -> Repository:
    """Return the repository the settings ask for, not started yet."""
    options = RuntimeOptions(
        runtime=settings.runtime,
        device=settings.device,
        executors=settings.executors,
        max_batch_size=settings.max_batch_size,
        max_batch_cost=settings.max_batch_cost,
        max_queue_cost=settings.max_queue_cost,
        max_attention_weights=settings.max_attention_weights,
        executor_stall_s=settings.executor_stall_s,
        warm_up=settings.warm_up,
    )
    return Repository(settings.model_repository, options, settings.models)
