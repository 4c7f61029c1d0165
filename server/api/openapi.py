"""The OpenAPI document: operations listed here, schemas generated from the structs that decode and encode.

The routes are plain Starlette routes, which FastAPI does not describe; ``document`` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from server.api.batches.description import batch_paths
from server.api.batches.forms import BatchList, BatchStatus
from server.api.batches.lines import LineError, line_type
from server.api.compare import MOST_MODELS, CompareRequest
from server.api.error_handlers import ErrorEnvelope, PlainError
from server.api.examples import EXAMPLES
from server.api.health import Health
from server.api.hugging_face.forms import FORMS
from server.api.models import ModelList, VocabularyList
from server.api.pictures import PICTURES
from server.api.streaming import EVENT_STREAM
from server.api.task_endpoints import answer_type
from server.runtime.lines import Priority
from server.tasks import Task
from server.tasks.stepwise import events_of

Json = dict[str, Any]

ERRORS = {
    400: "`malformed_json`",
    401: "`unauthorized`, where keys are set",
    404: "`model_not_found`",
    405: "`method_not_allowed`",
    406: "`not_acceptable`",
    413: "`payload_too_large`",
    415: "`unsupported_encoding`",
    422: "`invalid_request`, `input_too_long`, `unknown_words`",
    429: "`overloaded`: `Retry-After` says when to come back",
    500: "`internal`",
    503: "`model_not_ready`, `shutting_down`, `executor_lost`",
    504: "`deadline_exceeded`",
}
"""What each error status means."""

KEYS: Json = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
"""How a request carries its key, where the server asks for one."""


def document(title: str, version: str, tasks: Iterable[type[Task]], max_batch_items: int) -> Json:
    """Return the whole OpenAPI document."""
    paths: Json = {}
    structs: list[type] = [ErrorEnvelope, PlainError, Health, ModelList, VocabularyList, CompareRequest]
    structs += {form.Body: None for form in FORMS.values()}
    structs += [BatchStatus, BatchList, LineError]
    tasks = list(tasks)
    requests, answers, lines = [], [], []
    for task in tasks:
        line = line_type(task)
        lines.append(line.__name__)
        structs.append(line)
        answer = answer_type(task)
        requests.append(task.Request.__name__)
        answers.append(answer.__name__)
        structs += [task.Request, answer, *events_of(task)]
        paths |= _task_paths(task, answer.__name__, max_batch_items)
    paths |= batch_paths([task.name for task in tasks], lines, answers)
    paths |= {"/v1/compare": _compare(requests, answers)} | _fixed_paths()
    _, schemas = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": "Answers with where the model looked."},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": KEYS},
        "security": [{}, *({name: []} for name in KEYS)],
    }


def _task_paths(task: type[Task], answer: str, max_batch_items: int) -> Json:
    request, (question, reply) = task.Request.__name__, EXAMPLES[task.name]
    about = (task.Request.__doc__ or task.name).partition("\n")[0]
    batch, results = {"requests": [question]}, {"results": [reply]}
    return {
        f"/v1/{task.name}": {
            "post": {
                "operationId": task.name,
                "tags": ["tasks"],
                "summary": about,
                "description": _forms_of_answer(task),
                "parameters": [_TIMEOUT, _PRIORITY],
                "requestBody": {"required": True, "content": _json(_ref(request), question)},
                "responses": _responses(_json(_ref(answer), reply) | _PICTURES | _stream(task), ERRORS),
            }
        },
        f"/v1/{task.name}/batch": {
            "post": {
                "operationId": f"{task.name}_batch",
                "tags": ["tasks"],
                "summary": f"{about} Many at once.",
                "description": "Results come in order, and one bad item spoils only itself.",
                "parameters": [_TIMEOUT, _PRIORITY],
                "requestBody": {
                    "required": True,
                    "content": _json(_list_of("requests", _ref(request), max_batch_items), batch),
                },
                "responses": _responses(
                    _json(
                        _list_of("results", {"anyOf": [_ref(answer), _ITEM_ERROR]}, max_batch_items), results
                    ),
                    ERRORS,
                ),
            }
        },
    }


def _forms_of_answer(task: type[Task]) -> str:
    text = "With `Accept: image/svg+xml` the answer is the heat map of its attention."
    if events_of(task):
        text += " With `Accept: text/event-stream` it comes as events: each step, and `done` with the answer."
    return text


def _stream(task: type[Task]) -> Json:
    """Describe the data of a task's own events; a stream ends with the answer or an error beside them."""
    if not (events := events_of(task)):
        return {}
    return {EVENT_STREAM: {"schema": {"anyOf": [_ref(event.__name__) for event in events]}}}


def _compare(requests: Iterable[str], answers: Iterable[str]) -> Json:
    """Describe the comparison: the fields of the request inside, and of the results, are the task's."""
    question, reply = EXAMPLES["qa"]
    asked = {"task": "qa", "models": ["dmn-plus-babi", "dmn-plus-2"], "request": question}
    missing = {"code": "model_not_found", "message": "there is no model", "details": {}, "request_id": "1"}
    answer = {name: asked[name] for name in ("task", "models")}
    names = {"type": "array", "items": {"type": "string"}}
    results = {"anyOf": [*map(_ref, answers), _ITEM_ERROR]}
    fields = {"task": {"type": "string"}, "models": names}
    schema = _list_of("results", results, MOST_MODELS)
    schema["properties"] = fields | schema["properties"]
    body = {
        "allOf": [_ref(CompareRequest.__name__)],
        "properties": {"request": {"anyOf": [*map(_ref, requests)]}},
    }
    return {
        "post": {
            "operationId": "compare",
            "tags": ["tasks"],
            "summary": "One request, the answers of several models side by side.",
            "description": "A model that cannot answer spoils only its own place.",
            "parameters": [_TIMEOUT, _PRIORITY],
            "requestBody": {"required": True, "content": _json(body, asked)},
            "responses": _responses(
                _json(schema, answer | {"results": [reply, {"error": missing}]}) | _PICTURES, ERRORS
            ),
        }
    }


def _hugging_face() -> Json:
    """Describe the Hugging Face form: the fields of a body depend on the model's task."""
    errors = {
        str(status): {"description": text.partition(":")[0], "content": _json(_ref("PlainError"))}
        for status, text in ERRORS.items()
    }
    bodies = {"anyOf": [_ref(name) for name in {form.Body.__name__: None for form in FORMS.values()}]}
    return {
        "post": {
            "operationId": "hugging_face",
            "tags": ["tasks"],
            "summary": "A task in the form that `huggingface_hub.InferenceClient` speaks.",
            "parameters": [{**_NAME, "name": "model"}, _TIMEOUT],
            "requestBody": {"required": True, "content": _json(bodies)},
            "responses": {"200": {"description": "Success", "content": _json({})}, **errors},
        }
    }


def _fixed_paths() -> Json:
    return {
        "/hf/{model}": _hugging_face(),
        "/v1/models": _get("models", "Every model, with its state, device, metrics and limits.", "ModelList"),
        "/v1/models/{name}": _get("model", "One model.", "ModelCard", named=True),
        "/v1/models/{name}/vocabulary": _get(
            "vocabulary", "The words it knows.", "VocabularyList", named=True
        ),
        "/health/live": _get("live", "Whether the process answers at all.", "Health", tag="health"),
        "/health/ready": _get("ready", "Whether requests should be sent here.", "Health", tag="health"),
    }


def _get(operation: str, summary: str, schema: str, *, named: bool = False, tag: str = "models") -> Json:
    statuses = {"models": (401, 404, 406), "health": (406, 503)}[tag]
    return {
        "get": {
            "operationId": operation,
            "tags": [tag],
            "summary": summary,
            "parameters": [_NAME] if named else [],
            "responses": _responses(_json(_ref(schema)), {status: ERRORS[status] for status in statuses}),
        }
    }


def _responses(content: Json, errors: dict[int, str]) -> Json:
    failures = {
        str(status): {"description": text, "content": _json(_ref("ErrorEnvelope"))}
        for status, text in errors.items()
    }
    return {"200": {"description": "Success", "content": content}, **failures}


def _list_of(field: str, items: Json, most: int) -> Json:
    array = {"type": "array", "minItems": 1, "maxItems": most, "items": items}
    return {"type": "object", "required": [field], "properties": {field: array}}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: Json, example: Json | None = None) -> Json:
    return {"application/json": {"schema": schema} | ({"example": example} if example else {})}


_ITEM_ERROR: Json = {"type": "object", "properties": {"error": _ref("ErrorBody")}, "required": ["error"]}
_PICTURES: Json = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in PICTURES}
_NAME: Json = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "`name` or `name:version`",
    "schema": {"type": "string"},
}
_PRIORITY: Json = {
    "name": "X-Priority",
    "in": "header",
    "description": "Who goes first; single requests are `interactive` without it, those of a batch `batch`.",
    "schema": {"type": "string", "enum": [priority.label for priority in Priority]},
}
_TIMEOUT: Json = {
    "name": "X-Timeout-Ms",
    "in": "header",
    "description": "Answer within this time or not at all.",
    "schema": {"type": "number", "exclusiveMinimum": 0},
}
