"""The application: routes, error handlers and the lifespan that starts and stops the repository."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from server import __version__
from server.api.batches.endpoints import BatchesApi, batch_routes
from server.api.batches.lines import TaskLines
from server.api.compare import CompareEndpoint
from server.api.docs_page import docs_routes
from server.api.error_handlers import install_error_handlers
from server.api.exchange import ExchangeMiddleware
from server.api.gate import Gate, public_paths
from server.api.health import health_routes
from server.api.hot_path import HotEndpoint, HotPath
from server.api.hugging_face.endpoint import HuggingFaceEndpoint
from server.api.lifecycle import Lifecycle, Stage
from server.api.metrics import Metrics, metrics_routes
from server.api.models import model_routes
from server.api.open_inference.http_routes import open_inference_route
from server.api.open_inference.services import Services
from server.api.openapi import document
from server.api.orders import connect
from server.api.security import Keys
from server.api.task_endpoints import BatchEndpoint, TaskEndpoint, TaskService
from server.batches.pace import Pace
from server.batches.service import Batches, BatchOptions
from server.runtime.fleet import Alone, Fleet
from server.runtime.lines import Priority
from server.runtime.options import RuntimeOptions, executors_for
from server.runtime.repository import Repository
from server.runtime.watch import Watch
from server.settings import Settings, variable, wants_traces
from server.tasks import TASKS
from server.tracing import Tracer, open_tracer


class EngramApp(FastAPI):
    """FastAPI for its documentation pages; every route of ours is a plain one, which costs far less."""

    def __init__(
        self, settings: Settings, repository: Repository, fleet: Fleet, tracer: Tracer | None
    ) -> None:
        self.settings = settings
        self.repository = repository
        self.fleet = fleet
        self.tracer = tracer
        self.lifecycle = Lifecycle()
        self.keys = Keys.of(settings)
        self.metrics = Metrics(repository)
        self.batches = self._open_batches() if settings.batches else None
        self._orders = connect(fleet, repository, self.metrics)
        self.open_inference = Services.of(
            repository, self.lifecycle, self.keys, self.metrics, settings, tracer=tracer
        )
        super().__init__(
            title="Engram",
            version=__version__,
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
            lifespan=self._life,
            telemetry={"tracing": False, "metrics": False, "logs": False},  # asking costs 13 us a request
        )
        self.router.routes[:0] = self._own_routes()  # first, so that a hot route is the first match
        self.metrics.name_routes(self.router.routes)
        install_error_handlers(self)
        self.middleware_stack = self.build_middleware_stack()  # now, so that wrong settings end the start

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document behind ``/docs``."""
        return self._document

    @cached_property
    def _document(self) -> dict[str, Any]:
        return document(self.title, self.version, TASKS.values(), self.settings.max_batch_items)

    def _own_routes(self) -> list[BaseRoute]:
        routes: list[BaseRoute] = []
        services = {
            name: TaskService(task(), self.repository, self.settings, self.lifecycle)
            for name, task in TASKS.items()
        }
        for name, service in services.items():
            routes.append(Route(f"/v1/{name}", TaskEndpoint(service), methods=["POST"]))
            routes.append(Route(f"/v1/{name}/batch", BatchEndpoint(service), methods=["POST"]))
        routes.append(Route("/v1/compare", CompareEndpoint(services), methods=["POST"]))
        hugging_face = HuggingFaceEndpoint(self.repository, self.settings, self.lifecycle)
        routes.append(Route("/hf/{model}", hugging_face, methods=["POST"]))
        routes += batch_routes(BatchesApi(self.batches, TASKS, self.lifecycle, self.settings))
        routes += health_routes(self.repository, self.lifecycle, self.keys)
        routes.append(open_inference_route(self.open_inference))
        routes += metrics_routes(self.metrics)
        return [*routes, *model_routes(self.repository), *docs_routes(self.title)]

    def _open_batches(self) -> Batches:
        settings = self.settings
        tasks = {name: task() for name, task in TASKS.items()}
        lines = TaskLines(tasks, self.repository, settings.batch_max_line_bytes, settings.max_json_depth)
        pace = Pace(settings.batch_window, settings.batch_polite_window, self._interactive_requests)
        self.metrics.batch_lines_running = lambda: pace.running
        return Batches(batch_options(settings), lines, pace, self.metrics.batches)

    def _interactive_requests(self) -> int:
        """Return how many interactive requests have been answered."""
        label = Priority.INTERACTIVE.label
        models = self.repository.models()
        return sum(sum(model.statistics.queue_seconds[label].counts) for model in models)

    def build_middleware_stack(self) -> ASGIApp:
        """Wrap the routes, the innermost layer first: the gate refuses inside CORS, so that pages see why.

        FastAPI's own layers serve its own kind of route, of which there is none.
        """
        settings = self.settings
        app: ASGIApp = ExceptionMiddleware(self.router, handlers=self.exception_handlers)
        app = gate = Gate(app, self.keys, public_paths(settings, self.keys), settings.metrics_port)
        if settings.cors_origins:
            app = CORSMiddleware(
                app,
                allow_origins=settings.cors_origins,
                allow_methods=["GET", "POST", "DELETE"],
                allow_headers=["*"],
                expose_headers=["Retry-After", "X-Request-Id"],
            )
        exchanges = ExchangeMiddleware(
            app, self.lifecycle, self.metrics.count, settings.gzip_min_bytes, self.tracer
        )
        self.hot_path = self._hot_path(exchanges, gate)
        return exchanges

    def _hot_path(self, exchanges: ExchangeMiddleware, gate: Gate) -> HotPath:
        """Return the way past these layers for plain requests to the tasks; with CORS nothing is plain."""
        endpoints: dict[str, HotEndpoint] = {
            route.path: route.endpoint
            for route in self.router.routes
            if isinstance(route, Route) and isinstance(route.endpoint, (TaskEndpoint, BatchEndpoint))
            if not self.settings.cors_origins
        }
        most_bytes = min(self.settings.max_body_bytes, self.settings.max_decompressed_bytes)
        return HotPath(endpoints, exchanges, gate, self.lifecycle, most_bytes)

    @asynccontextmanager
    async def _life(self, _: FastAPI) -> AsyncIterator[None]:
        await self.repository.start()
        await self.fleet.join(self._orders)
        async with self._watch(), self._grpc():
            if self.batches is not None:
                self.batches.start()
            yield
            self.lifecycle.stage = Stage.STOPPING
            if self.batches is not None:
                await self.batches.stop()
            await self.repository.drain()
        await self.fleet.leave()
        await self.repository.close()
        if self.tracer is not None:
            await asyncio.to_thread(self.tracer.close)

    @asynccontextmanager
    async def _watch(self) -> AsyncIterator[None]:
        """Follow the model repository on disk meanwhile, if that is wanted."""
        if not self.settings.watch_s:
            yield
            return
        watching = asyncio.create_task(Watch(self.repository, self.settings.watch_s).run())
        try:
            yield
        finally:
            watching.cancel()

    @asynccontextmanager
    async def _grpc(self) -> AsyncIterator[None]:
        """Serve the Open Inference Protocol over gRPC meanwhile, if a port is set for it."""
        if not self.settings.grpc_port:
            yield
            return
        from server.api.open_inference.grpc_server import start_grpc  # noqa: PLC0415 - takes 20 MB

        door = await start_grpc(self.open_inference, self.settings.host, self.settings.grpc_port)
        try:
            yield
        finally:
            await door.stop(self.settings.shutdown_grace_s)


def create_app(
    settings: Settings,
    repository: Repository | None = None,
    fleet: Fleet | None = None,
    tracer: Tracer | None = None,
) -> EngramApp:
    """Build the application.

    Args:
        settings: every knob.
        repository: the models, not started yet; without it the settings' folder is opened.
        fleet: the processes that serve together; without it this one serves alone.
        tracer: what traces go through; without it the settings' own is opened, if they ask for one.

    Raises:
        ValueError: the settings ask for a model by an impossible name, name keys that cannot be read, or want
            traces without the packages for them.
    """
    if tracer is None and wants_traces(settings):
        tracer = open_tracer()
    return EngramApp(settings, repository or open_repository(settings), fleet or Alone(), tracer)


def open_repository(settings: Settings) -> Repository:
    """Return the repository the settings ask for, not started yet."""
    return Repository(settings.model_repository, runtime_options(settings), settings.models)


def runtime_options(settings: Settings) -> RuntimeOptions:
    """Return how models run, as the settings say."""
    return RuntimeOptions(
        runtime=settings.runtime,
        device=settings.device,
        executors=settings.executors or executors_for(settings.workers),
        model_executors=settings.model_executors,
        max_batch_size=settings.max_batch_size,
        max_batch_cost=settings.max_batch_cost,
        max_queue_cost=settings.max_queue_cost,
        max_queue_ms=settings.max_queue_ms,
        max_attention_weights=settings.max_attention_weights,
        executor_stall_s=settings.executor_stall_s,
        warm_up=settings.warm_up,
    )


def batch_options(settings: Settings) -> BatchOptions:
    """Return how batches are kept, as the settings say.

    Raises:
        ValueError: the URL of the database is none.
    """
    url = None if settings.batch_database is None else settings.batch_database.get_secret_value()
    if url is not None and not url.startswith(("postgresql://", "postgres://")):
        raise ValueError(f"{variable('batch_database')} must begin with postgresql:// (it is not shown here)")
    return BatchOptions(
        file=settings.batch_file,
        url=url,
        body_bytes=settings.batch_max_bytes,
        line_bytes=settings.batch_max_line_bytes,
        free_bytes=settings.batch_free_bytes,
        most_open=settings.batch_max_open,
        keep_s=settings.batch_keep_hours * 3600,
        lease_s=settings.batch_lease_s,
    )
