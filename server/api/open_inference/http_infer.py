"""``POST /v2/models/{name}/infer``: the protocol's hot path over HTTP, in plain ASGI."""

from __future__ import annotations

import asyncio
import zlib

from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from server.api.body import BodyLimits, read_body
from server.api.deadlines import due
from server.api.decoding import check_depth
from server.api.disconnect import while_connected
from server.api.exchange import THREAD_BYTES, Exchange, exchange_of
from server.api.negotiation import JSON, best_encoding
from server.api.open_inference.http_codec import (
    BINARY,
    HEADER_LENGTH,
    Form,
    decode_raw,
    decode_request,
    encode_response,
    json_length,
)
from server.api.open_inference.messages import InferRequest, InferResponse
from server.api.open_inference.services import Services

_WBITS = {"gzip": 31, "deflate": 15}


def infer_routes(services: Services) -> list[BaseRoute]:
    """Return the routes of the newest and of a given version."""
    endpoint = InferEndpoint(services)
    return [
        Route("/v2/models/{name}/infer", endpoint, methods=["POST"]),
        Route("/v2/models/{name}/versions/{version}/infer", endpoint, methods=["POST"]),
    ]


class InferEndpoint:
    """Answers inferences."""

    def __init__(self, services: Services) -> None:
        self._services = services
        settings = services.settings
        self._limits = BodyLimits(settings.max_body_bytes, settings.max_decompressed_bytes)
        self._max_depth = settings.max_json_depth
        self._max_elements = settings.max_tensor_elements

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one inference."""
        exchange = exchange_of(scope)
        self._services.lifecycle.require_open()
        deadline = due(exchange, self._services.settings.timeout_ms)
        body = await read_body(exchange, receive, self._limits, deadline)
        request, form = await self._read(scope["path_params"], body, exchange)
        exchange.fields["model"] = request.model
        response = await while_connected(self._services.inference.infer(request, deadline), scope, receive)
        await _send_inference(send, response, form, exchange, self._services.settings.gzip_min_bytes)

    async def _read(self, path: dict[str, str], body: bytes, exchange: Exchange) -> tuple[InferRequest, Form]:
        name, version = path["name"], path.get("version", "")
        length = exchange.headers.get(HEADER_LENGTH.lower().encode("ascii"))
        size = json_length(length, len(body))
        if length is not None and size == 0:
            return decode_raw(self._services.catalogue.find(name, version), body), Form(binary=True)
        await check_depth(body[:size], self._max_depth)
        return decode_request(name, version, body, length, self._max_elements)


async def _send_inference(
    send: Send, response: InferResponse, form: Form, exchange: Exchange, compress_from: int
) -> None:
    body, json_bytes = encode_response(response, form)
    headers = {"content-type": JSON if json_bytes is None else BINARY, "vary": "Accept-Encoding"}
    if json_bytes is not None:
        headers[HEADER_LENGTH.lower()] = str(json_bytes)
    encoding = best_encoding(exchange.headers.get(b"accept-encoding", b""))
    if encoding is not None and len(body) >= compress_from:
        headers["content-encoding"] = encoding
        work = (body, _WBITS[encoding])
        body = await asyncio.to_thread(_squeeze, *work) if len(body) >= THREAD_BYTES else _squeeze(*work)
    headers["content-length"] = str(len(body))
    pairs = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": 200, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


def _squeeze(body: bytes, wbits: int) -> bytes:
    squeeze = zlib.compressobj(level=1, wbits=wbits)  # level 1: speed first
    return squeeze.compress(body) + squeeze.flush()
