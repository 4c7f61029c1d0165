"""``POST /hf/{model}``: what ``InferenceClient(model="http://host:8000/hf/NAME")`` calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from server.api.body import BodyLimits, read_body
from server.api.deadlines import due
from server.api.decoding import check_depth, decode
from server.api.disconnect import while_connected
from server.api.exchange import exchange_of
from server.api.hugging_face.forms import FORMS
from server.api.lifecycle import Lifecycle
from server.api.negotiation import JSON, accepted
from server.api.task_endpoints import send_bytes
from server.api.urgency import priority_of
from server.contract.attention import encode_array
from server.errors import InvalidRequest
from server.runtime.lines import Priority
from server.runtime.loaded_model import LoadedModel
from server.runtime.repository import Repository
from server.settings import Settings

_encode = msgspec.json.Encoder(enc_hook=encode_array).encode
_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    name: msgspec.json.Decoder(form.Body) for name, form in FORMS.items()
}


@dataclass(frozen=True, slots=True, eq=False)
class HuggingFaceEndpoint:
    """Answers in the form of the model's task."""

    repository: Repository
    settings: Settings
    lifecycle: Lifecycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        self.lifecycle.require_open()
        exchange = exchange_of(scope)
        media_type = accepted(exchange.headers, (JSON,))
        model, task = self._find(scope["path_params"]["model"])
        settings = self.settings
        deadline = due(exchange, settings.timeout_ms)
        limits = BodyLimits(settings.max_body_bytes, settings.max_decompressed_bytes)
        content = await read_body(exchange, receive, limits, deadline)
        await check_depth(content, settings.max_json_depth)
        body = decode(_DECODERS[task], content)
        work = model.answer(FORMS[task].request(body), deadline, priority_of(exchange, Priority.INTERACTIVE))
        answer, run = await while_connected(work, scope, receive)
        exchange.fields.update(model=model.name, batch_size=run.batch_size)
        await send_bytes(send, _encode(FORMS[task].respond(body, answer)), media_type)

    def _find(self, name: str) -> tuple[LoadedModel, str]:
        model = self.repository.get(name)
        if model.state != "ready" or model.task is None:
            raise model.not_ready()
        if model.task.name not in FORMS:
            raise InvalidRequest(
                f"model {model.name} does task {model.task.name}; this form knows {', '.join(FORMS)}"
            )
        return model, model.task.name
