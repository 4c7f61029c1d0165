"""``POST /v1/compare``: one request, the answers of several models side by side.

Every model is asked as its own endpoint would ask it, at the same time and with the same deadline. A model
that fails spoils only its own place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.types import Receive, Scope, Send

from server.api.decoding import LONGEST_ECHO, decode, invalid_field
from server.api.disconnect import while_connected
from server.api.drawing import Drawing, shorten, stacked
from server.api.exchange import Exchange, exchange_of
from server.api.heat_map import TITLE_CHARACTERS
from server.api.negotiation import JSON, PNG, accepted
from server.api.pictures import PICTURES, picture
from server.api.task_endpoints import TaskService, answer_body, error_item, send_bytes
from server.api.translation_map import note
from server.contract.manifest import Manifest
from server.errors import EngramError, InvalidRequest
from server.runtime.executor import Run
from server.runtime.loaded_model import LoadedModel

MOST_MODELS = 8
"""Models that one request may ask."""


class CompareRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One request for several models of a task."""

    task: Annotated[str, Meta(description="Which task: the name in the path of its own endpoint.")]
    request: Annotated[
        msgspec.Raw,
        Meta(
            description="What the task's own endpoint takes, without `model`.",
            extra_json_schema={"type": "object"},
        ),
    ]
    models: Annotated[
        Annotated[list[str], Meta(min_length=1, max_length=MOST_MODELS)] | None,
        Meta(
            description="Each `name` or `name:version`; without them, all ready ones that do what is asked."
        ),
    ] = None


class CompareResponse(msgspec.Struct, frozen=True):
    """What each model answered, in the order of ``models``: its endpoint's answer, or an ``error``."""

    task: str
    models: list[str]
    results: list[msgspec.Raw]


Outcome = tuple[Any, Run, LoadedModel] | Exception
"""What became of the request at one model."""

_DECODER = msgspec.json.Decoder(CompareRequest)
_encode = msgspec.json.encode


class CompareEndpoint:
    """Asks several models the same, and answers as JSON or as one picture below the other."""

    def __init__(self, services: Mapping[str, TaskService]) -> None:
        """Take what the endpoints of the tasks do, by the task's name."""
        self._services = services
        self._any = next(iter(services.values()))
        self._decoders = {
            name: msgspec.json.Decoder(service.task.Request) for name, service in services.items()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        exchange = exchange_of(scope)
        media_type = accepted(exchange.headers, (JSON, *PICTURES))
        body = await self._any.body(exchange, receive)
        work = self.reply(exchange, body) if media_type == JSON else self._draw(exchange, body, media_type)
        await send_bytes(send, await while_connected(work, scope, receive), media_type)

    async def reply(self, exchange: Exchange, body: bytes) -> bytes:
        """Return the answers to a body as JSON."""
        compared, service, request = await self._read(body)
        names = self._models(compared, service, request)
        outcomes = await self._ask(service, request, names, exchange)
        results = [msgspec.Raw(_result(outcome, exchange)) for outcome in outcomes]
        return _encode(CompareResponse(compared.task, names, results))

    async def _draw(self, exchange: Exchange, body: bytes, media_type: str) -> bytes:
        compared, service, request = await self._read(body)
        request = msgspec.structs.replace(request, attention="full")
        names = self._models(compared, service, request)
        outcomes = await self._ask(service, request, names, exchange)
        failures = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        if len(failures) == len(outcomes):
            raise failures[0]

        def draw() -> bytes:
            whole = stacked([_drawing(request, *each) for each in zip(names, outcomes, strict=True)])
            return whole.png() if media_type == PNG else whole.svg()

        return await asyncio.to_thread(draw)

    async def _read(self, body: bytes) -> tuple[CompareRequest, TaskService, Any]:
        """Return what is compared, who does it, and the task's request.

        Raises:
            InvalidRequest: a field is wrong; those of the task's request are called ``request.…``.
        """
        compared = await self._any.decode(_DECODER, body)
        if compared.task not in self._services:
            known = ", ".join(self._services)
            raise invalid_field(
                "task", f"{compared.task[:LONGEST_ECHO]!r} is no task, this server knows {known}"
            )
        try:
            request: Any = decode(self._decoders[compared.task], compared.request)
        except InvalidRequest as error:
            fields = [f"request.{field}" for field in error.details.get("fields", ())]
            raise InvalidRequest(f"request.{error.message}", fields=fields) from None
        if request.model is not None:
            raise invalid_field("request.model", "is named in models")
        return compared, self._services[compared.task], request

    def _models(self, compared: CompareRequest, service: TaskService, request: Any) -> list[str]:
        """Return the models asked for, or else all that are ready for such a request, the default first.

        Raises:
            ModelNotFound, ModelNotReady: there is none.
        """
        if compared.models is not None:
            if len(set(compared.models)) < len(compared.models):
                raise invalid_field("models", "names a model twice")
            return compared.models
        selector = dict(service.task.selector(request))
        newest: dict[str, Manifest] = {}
        for model in service.repository.models():
            if model.state == "ready" and model.bundle is not None:
                newest.setdefault(model.name, model.bundle.manifest)  # what its bare name stands for
        fitting = {
            name: manifest
            for name, manifest in newest.items()
            if manifest.task == service.task.name and selector.items() <= manifest.selector.items()
        }
        if len({tuple(sorted(manifest.selector.items())) for manifest in fitting.values()}) != 1:
            default = service.repository.find(None, service.task.name, selector)
            if default.name not in fitting:  # another version of it is the default, and answers in its name
                return [default.name]
            fitting = {
                name: one for name, one in fitting.items() if one.selector == fitting[default.name].selector
            }
        return sorted(fitting, key=lambda name: not fitting[name].default)[:MOST_MODELS]

    async def _ask(
        self, service: TaskService, request: Any, names: Sequence[str], exchange: Exchange
    ) -> list[Outcome]:
        async def ask(name: str) -> Outcome:
            try:
                return await service.answer(msgspec.structs.replace(request, model=name), exchange)
            except Exception as error:
                return error

        exchange.fields.update(models=",".join(names)[:LONGEST_ECHO])
        return list(await asyncio.gather(*map(ask, names)))


def _result(outcome: Outcome, exchange: Exchange) -> bytes:
    if isinstance(outcome, Exception):
        return error_item(outcome, exchange)
    return answer_body(*outcome, exchange)


def _drawing(request: Any, name: str, outcome: Outcome) -> Drawing:
    """Return the picture of an answer, or a line that says why there is none."""
    if not isinstance(outcome, Exception):
        answer, _, model = outcome
        return picture(request, answer, f"{model.name}:{model.version}")
    why = outcome.message if isinstance(outcome, EngramError) else "the server failed"
    return note(shorten(f"{name}: {why}", TITLE_CHARACTERS))
