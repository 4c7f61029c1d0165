"""The gRPC server: imported only when it is wanted, because gRPC takes 20 MB."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from tritonclient.grpc import service_pb2

from server.api.open_inference.grpc_calls import UNREADABLE
from server.api.open_inference.grpc_health import HealthService
from server.api.open_inference.grpc_service import InferenceService
from server.api.open_inference.services import Services

logger = logging.getLogger(__name__)

SERVICE = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]


async def start_grpc(services: Services, host: str, port: int) -> grpc.aio.Server:
    """Serve the protocol on this port.

    Raises:
        RuntimeError: the port cannot be had.
    """
    server = grpc.aio.server(
        maximum_concurrent_rpcs=services.settings.max_connections,
        options=[
            ("grpc.max_receive_message_length", services.settings.max_decompressed_bytes),
            ("grpc.max_send_message_length", -1),
            # Workers share the port; without them, one that is taken is an error, not a second server.
            ("grpc.so_reuseport", int(services.settings.workers > 1)),
        ],
    )
    server.add_generic_rpc_handlers((_handlers(InferenceService(services)),))
    add_HealthServicer_to_server(HealthService(services, SERVICE.full_name), server)
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    server.add_insecure_port(address)
    await server.start()
    logger.info("gRPC is open", extra={"fields": {"address": address}})
    return server


def _handlers(service: InferenceService) -> grpc.GenericRpcHandler:
    """Return the service's methods, which get ``UNREADABLE`` for a message that cannot be parsed.

    The library's own handlers end such a call as ``UNKNOWN``, with a traceback in the log.
    """
    return grpc.method_handlers_generic_handler(
        SERVICE.full_name,
        {method.name: _handler(method, getattr(service, method.name)) for method in SERVICE.methods},
    )


def _handler(method: Any, answer: Callable[..., Any]) -> grpc.RpcMethodHandler:
    make = (
        grpc.stream_stream_rpc_method_handler
        if method.client_streaming
        else grpc.unary_unary_rpc_method_handler
    )
    request, reply = GetMessageClass(method.input_type), GetMessageClass(method.output_type)

    def parse(data: bytes) -> Any:
        try:
            return request.FromString(data)
        except DecodeError:
            return UNREADABLE

    return make(answer, parse, reply.SerializeToString)
