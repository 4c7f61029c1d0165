"""gRPC's own health service, ``grpc.health.v1.Health``, which Kubernetes, Envoy and load balancers ask.

It says what ``/health/ready`` says, and needs no key, because probes carry none.
"""
# ruff: noqa: N802 - the names of methods are the protocol's

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_health.v1 import health_pb2 as pb
from grpc_health.v1 import health_pb2_grpc

from server.api.open_inference.services import Services
from server.errors import ModelNotFound

LOOK_S = 0.25
"""How often the state is looked at for those who watch it."""

States = pb.HealthCheckResponse


class HealthService(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # the library has no types
    """The state of the server, by the empty name or that of the inference service, and of each model."""

    def __init__(self, services: Services, own_name: str) -> None:
        self._services = services
        self._own_names = ("", own_name)

    async def Check(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        """Tell the state of one service at this moment."""
        if (state := self._state(request.service)) == States.SERVICE_UNKNOWN:
            await context.abort(
                grpc.StatusCode.NOT_FOUND, "there is neither a service nor a model of this name"
            )
        return States(status=state)

    async def Watch(self, request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        """Tell the state of one service, and again whenever it changes."""
        told = None
        while True:
            if (state := self._state(request.service)) != told:
                told = state
                yield States(status=state)
            await asyncio.sleep(LOOK_S)

    def _state(self, name: str) -> int:
        is_ready = self._services.is_ready()
        if name not in self._own_names:
            try:
                is_ready = is_ready and self._services.catalogue.is_ready(name)
            except ModelNotFound:
                unknown: int = States.SERVICE_UNKNOWN
                return unknown
        state: int = States.SERVING if is_ready else States.NOT_SERVING
        return state
