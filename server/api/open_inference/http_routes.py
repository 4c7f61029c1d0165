"""Every path below ``/v2``: one ASGI application with a router of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, Router
from starlette.types import Receive, Scope, Send

from server.api.body import BodyLimits, read_body
from server.api.deadlines import due
from server.api.decoding import check_depth, decode
from server.api.exchange import exchange_of
from server.api.gate import require_admin
from server.api.negotiation import JSON
from server.api.open_inference.administration import change_repository
from server.api.open_inference.descriptions import (
    index,
    model_config,
    model_metadata,
    server_metadata,
)
from server.api.open_inference.http_infer import infer_routes
from server.api.open_inference.services import Services
from server.api.open_inference.settings_views import (
    log_settings,
    refuse_changes,
    refuse_region,
    trace_settings,
)
from server.errors import ModelNotReady

_OBJECT = msgspec.json.Decoder(dict[str, Any])

Handler = Callable[[Request], Awaitable[Any]]


def open_inference_route(services: Services) -> Route:
    """Return the route that takes every path below ``/v2``, known or not."""
    return Route("/v2{rest:path}", OpenInference(services), include_in_schema=False)


class OpenInference:
    """The protocol over HTTP."""

    def __init__(self, services: Services) -> None:
        self._router = Router([*infer_routes(services), *_other_routes(services)], redirect_slashes=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; clients of this protocol unpack only answers to inferences."""
        exchange_of(scope).squeeze = False
        await self._router(scope, receive, send)


def _other_routes(services: Services) -> list[BaseRoute]:
    handlers = Handlers(services)

    def get(path: str, handler: Handler) -> Route:
        return _route(path, "GET", handler)

    def post(path: str, handler: Handler) -> Route:
        return _route(path, "POST", handler)

    routes: list[BaseRoute] = [
        get("/v2", handlers.server),
        get("/v2/", handlers.server),
        get("/v2/health/live", handlers.live),
        get("/v2/health/ready", handlers.ready),
        get("/v2/models/stats", handlers.all_stats),
        get("/v2/logging", handlers.logging),
        post("/v2/logging", handlers.change_logging),
        get("/v2/trace/setting", handlers.trace),
        post("/v2/trace/setting", handlers.change_trace),
        get("/v2/models/{name}/trace/setting", handlers.trace),
        post("/v2/models/{name}/trace/setting", handlers.change_trace),
        post("/v2/repository/index", handlers.index),
        post("/v2/repository/models/{name:path}/load", handlers.load),
        post("/v2/repository/models/{name:path}/unload", handlers.unload),
    ]
    for model in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        routes += [
            get(model, handlers.metadata),
            get(f"{model}/ready", handlers.model_ready),
            get(f"{model}/config", handlers.config),
            get(f"{model}/stats", handlers.stats),
        ]
    for kind in ("/v2/systemsharedmemory", "/v2/cudasharedmemory"):
        routes += [
            get(f"{kind}/status", handlers.no_regions),
            get(f"{kind}/region/{{region}}/status", handlers.no_regions),
            post(f"{kind}/region/{{region}}/register", handlers.register_region),
            post(f"{kind}/unregister", handlers.unregister_region),
            post(f"{kind}/region/{{region}}/unregister", handlers.unregister_region),
        ]
    return routes


def _route(path: str, method: str, handler: Handler) -> Route:
    async def answer(request: Request) -> Response:
        content = await handler(request)
        return Response(b"" if content is None else msgspec.json.encode(content), media_type=JSON)

    return Route(path, answer, methods=[method])


class Handlers:
    """Everything but inference: each returns what leaves as JSON, ``None`` as an empty body."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._catalogue = services.catalogue

    async def server(self, _: Request) -> Any:
        """Tell what this server is."""
        return server_metadata()

    async def live(self, _: Request) -> Any:
        """Tell that the process answers."""
        return {"live": True}

    async def ready(self, _: Request) -> Any:
        """Tell that requests should be sent here."""
        if not self._services.is_ready():
            raise ModelNotReady("the server is not ready")
        return {"ready": True}

    async def metadata(self, request: Request) -> Any:
        """Tell names, datatypes and shapes."""
        return model_metadata(self._catalogue.find(*_model(request)), self._catalogue)

    async def model_ready(self, request: Request) -> Any:
        """Tell that the model can answer."""
        loaded, name = self._catalogue.look_up(*_model(request))
        if loaded.state != "ready":
            raise loaded.not_ready()
        return {"name": name, "ready": True}

    async def config(self, request: Request) -> Any:
        """Tell how the model is run."""
        return model_config(self._catalogue.find(*_model(request)), self._catalogue)

    async def stats(self, request: Request) -> Any:
        """Tell what became of the model's requests."""
        return await self._services.statistics(*_model(request))

    async def all_stats(self, _: Request) -> Any:
        """Tell what became of every request."""
        return await self._services.statistics()

    async def index(self, request: Request) -> Any:
        """List the models."""
        asked = await self._json(request)
        return index(self._catalogue, ready=asked.get("ready") is True)

    async def load(self, request: Request) -> Any:
        """Load a model."""
        await self._change("load", request)

    async def unload(self, request: Request) -> Any:
        """Unload a model."""
        await self._change("unload", request)

    async def logging(self, _: Request) -> Any:
        """Tell what is logged."""
        return log_settings(self._services.settings)

    async def change_logging(self, request: Request) -> Any:
        """Refuse to change what is logged."""
        refuse_changes(await self._json(request))
        return log_settings(self._services.settings)

    async def trace(self, request: Request) -> Any:
        """Tell what is traced."""
        if "name" in request.path_params:
            self._catalogue.look_up(request.path_params["name"])
        return trace_settings()

    async def change_trace(self, request: Request) -> Any:
        """Refuse to change what is traced."""
        refuse_changes(await self._json(request))
        return await self.trace(request)

    async def no_regions(self, request: Request) -> Any:
        """List the regions of shared memory: there is none."""
        if "region" in request.path_params:
            refuse_region()
        return []

    async def register_region(self, _: Request) -> Any:
        """Refuse shared memory."""
        refuse_region()

    async def unregister_region(self, _: Request) -> Any:
        """Do nothing: no region can have been registered."""

    async def _change(self, verb: Any, request: Request) -> None:
        require_admin(request.scope, self._services.keys)
        parameters = (await self._json(request)).get("parameters", {})
        asked = parameters if isinstance(parameters, dict) else {"parameters": parameters}
        await change_repository(self._services.repository, verb, request.path_params["name"], asked)

    async def _json(self, request: Request) -> dict[str, Any]:
        """Return the body, an object or nothing at all."""
        settings = self._services.settings
        limits = BodyLimits(settings.max_body_bytes, settings.max_decompressed_bytes)
        exchange = exchange_of(request.scope)
        body = await read_body(exchange, request.receive, limits, due(exchange, settings.timeout_ms))
        await check_depth(body, settings.max_json_depth)
        return decode(_OBJECT, body) if body.strip() else {}


def _model(request: Request) -> tuple[str, str]:
    return request.path_params["name"], request.path_params.get("version", "")
