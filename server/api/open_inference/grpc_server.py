"""The gRPC server: imported only when it is wanted, because gRPC takes 20 MB."""

from __future__ import annotations

import logging

import grpc
from tritonclient.grpc import service_pb2_grpc

from server.api.open_inference.grpc_service import InferenceService
from server.api.open_inference.services import Services

logger = logging.getLogger(__name__)


async def start_grpc(services: Services, host: str, port: int) -> grpc.aio.Server:
    """Serve the protocol on this port.

    Raises:
        RuntimeError: the port cannot be had.
    """
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", services.settings.max_decompressed_bytes),
            ("grpc.max_send_message_length", -1),
            # Workers share the port; without them, one that is taken is an error, not a second server.
            ("grpc.so_reuseport", int(services.settings.workers > 1)),
        ]
    )
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(InferenceService(services), server)
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    server.add_insecure_port(address)
    await server.start()
    logger.info("gRPC is open", extra={"fields": {"address": address}})
    return server
