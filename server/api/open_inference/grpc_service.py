"""The protocol over gRPC: every method of ``inference.GRPCInferenceService``.

The messages are those of ``tritonclient``, so both sides speak from one definition. A call that the client
cancels, or whose deadline passes, is cancelled here too, and its requests leave the queue.
"""
# ruff: noqa: N802 - the names of methods are the protocol's

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.json_format import ParseDict
from tritonclient.grpc import service_pb2 as pb

from server.api.error_handlers import error_body
from server.api.open_inference import descriptions
from server.api.open_inference.administration import change_repository
from server.api.open_inference.grpc_calls import answering, headers_of, insist_on_message
from server.api.open_inference.grpc_codec import decode_request, encode_response, parameters_of
from server.api.open_inference.services import Services
from server.api.open_inference.settings_views import (
    log_settings,
    refuse_changes,
    refuse_region,
    trace_settings,
)
from server.errors import ModelNotFound
from server.logs import REQUEST_ID

STREAM_AHEAD = 32
"""Requests of one stream that are worked on at the same time; answers come in the order of requests."""


class InferenceService:
    """One method for each of the protocol's; their names are its names."""

    def __init__(self, services: Services) -> None:
        self.services = services

    @answering
    async def ServerLive(self, message: Any, context: grpc.aio.ServicerContext) -> Any:
        """Tell that the process answers."""
        return pb.ServerLiveResponse(live=True)

    @answering
    async def ServerReady(self, message: Any, context: grpc.aio.ServicerContext) -> Any:
        """Tell whether requests should be sent here."""
        return pb.ServerReadyResponse(ready=self.services.is_ready())

    @answering
    async def ModelReady(self, message: Any, context: grpc.aio.ServicerContext) -> Any:
        """Tell whether a model can answer; one that does not exist cannot."""
        try:
            loaded, _ = self.services.catalogue.look_up(message.name, message.version)
        except ModelNotFound:
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=loaded.state == "ready")

    @answering
    async def ServerMetadata(self, message: Any, context: grpc.aio.ServicerContext) -> Any:
        """Tell what this server is."""
        return ParseDict(descriptions.server_metadata(), pb.ServerMetadataResponse())

    @answering
    async def ModelMetadata(self, message: Any, context: grpc.aio.ServicerContext) -> Any:
        """Tell names, datatypes and shapes."""
        catalogue = self.services.catalogue
        about = descriptions.model_metadata(catalogue.find(message.name, message.version), catalogue)
        return ParseDict(about, pb.ModelMetadataResponse())

    @answering
    async def ModelConfig(self, message: Any, context: grpc.aio.ServicerContext) -> Any:
        """Tell how a model is run."""
        catalogue = self.services.catalogue
        config = descriptions.model_config(catalogue.find(message.name, message.version), catalogue)
        return ParseDict({"config": config}, pb.ModelConfigResponse())

    @answering
    async def ModelStatistics(self, message: Any, context: grpc.aio.ServicerContext) -> Any:
        """Tell what became of requests, to one model or to all."""
        counts = await self.services.statistics(message.name, message.version)
        return ParseDict(counts, pb.ModelStatisticsResponse())

    @answering
    async def ModelInfer(self, message: Any, context: grpc.aio.ServicerContext) -> Any:
        """Answer one inference."""
        return await self._infer(message, context)

    @answering
    async def ModelStreamInfer(self, messages: AsyncIterator[Any], context: grpc.aio.ServicerContext) -> None:
        """Answer the inferences of a stream in their order; a bad one spoils only itself."""
        answers: asyncio.Queue[asyncio.Task[Any] | None] = asyncio.Queue(STREAM_AHEAD)

        async def read(group: asyncio.TaskGroup) -> None:
            async for message in messages:
                await answers.put(group.create_task(self._stream_one(message, context)))
            await answers.put(None)

        async with asyncio.TaskGroup() as group:
            group.create_task(read(group))
            while (answer := await answers.get()) is not None:
                await context.write(await answer)

    @answering
    async def RepositoryIndex(self, message: Any, context: grpc.aio.ServicerContext) -> Any:
        """List the models."""
        models = descriptions.index(self.services.catalogue, ready=message.ready)
        return ParseDict({"models": models}, pb.RepositoryIndexResponse())

    @answering
    async def RepositoryModelLoad(self, message: Any, context: grpc.aio.ServicerContext) -> Any:
        """Load a model, for an admin."""
        self.services.keys.require_admin(headers_of(context))
        await change_repository(self.services.repository, "load", message.model_name, message.parameters)
        return pb.RepositoryModelLoadResponse()

    @answering
    async def RepositoryModelUnload(self, message: Any, context: grpc.aio.ServicerContext) -> Any:
        """Unload a model, for an admin."""
        self.services.keys.require_admin(headers_of(context))
        await change_repository(self.services.repository, "unload", message.model_name, message.parameters)
        return pb.RepositoryModelUnloadResponse()

    @answering
    async def LogSettings(self, message: Any, context: grpc.aio.ServicerContext) -> Any:
        """Tell what is logged; refuse to change it."""
        refuse_changes(message.settings)
        reply = pb.LogSettingsResponse()
        for name, value in log_settings(self.services.settings).items():
            kind = {bool: "bool_param", int: "uint32_param", str: "string_param"}[type(value)]
            setattr(reply.settings[name], kind, value)
        return reply

    @answering
    async def TraceSetting(self, message: Any, context: grpc.aio.ServicerContext) -> Any:
        """Tell what is traced; refuse to change it."""
        refuse_changes(message.settings)
        if message.model_name:
            self.services.catalogue.look_up(message.model_name)
        reply = pb.TraceSettingResponse()
        for name, values in trace_settings().items():
            reply.settings[name].value.extend(values)
        return reply

    @answering
    async def SystemSharedMemoryStatus(self, message: Any, context: grpc.aio.ServicerContext) -> Any:
        """List the regions of shared memory: there is none."""
        if message.name:
            refuse_region()
        return pb.SystemSharedMemoryStatusResponse()

    @answering
    async def SystemSharedMemoryRegister(self, message: Any, context: grpc.aio.ServicerContext) -> None:
        """Refuse shared memory."""
        refuse_region()

    @answering
    async def SystemSharedMemoryUnregister(self, message: Any, context: grpc.aio.ServicerContext) -> Any:
        """Do nothing: no region can have been registered."""
        return pb.SystemSharedMemoryUnregisterResponse()

    @answering
    async def CudaSharedMemoryStatus(self, message: Any, context: grpc.aio.ServicerContext) -> Any:
        """List the regions of CUDA memory: there is none."""
        if message.name:
            refuse_region()
        return pb.CudaSharedMemoryStatusResponse()

    @answering
    async def CudaSharedMemoryRegister(self, message: Any, context: grpc.aio.ServicerContext) -> None:
        """Refuse shared memory."""
        refuse_region()

    @answering
    async def CudaSharedMemoryUnregister(self, message: Any, context: grpc.aio.ServicerContext) -> Any:
        """Do nothing: no region can have been registered."""
        return pb.CudaSharedMemoryUnregisterResponse()

    async def _infer(self, message: Any, context: grpc.aio.ServicerContext) -> Any:
        insist_on_message(message)  # for those of a stream
        request = decode_request(message, self.services.settings.max_tensor_elements)
        left_s = context.time_remaining()
        limit_s = self.services.settings.timeout_ms / 1e3
        due = time.monotonic() + (limit_s if left_s is None else min(limit_s, left_s))
        return encode_response(await self.services.inference.infer(request, due))

    async def _stream_one(self, message: Any, context: grpc.aio.ServicerContext) -> Any:
        try:
            reply = await self._infer(message, context)
        except Exception as error:
            told = error_body(error, REQUEST_ID.get() or "").message
            failed = pb.ModelInferResponse(id=message.id)
            return pb.ModelStreamInferResponse(error_message=told, infer_response=failed)
        if parameters_of(message.parameters).get("triton_enable_empty_final_response"):
            reply.parameters["triton_final_response"].bool_param = True
        return pb.ModelStreamInferResponse(infer_response=reply)
