"""What ``/docs`` says of ``/v1/batches``; ``server.api.openapi`` puts it among the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]

NDJSON = "application/x-ndjson"

_OFF = "`unsupported`: this server keeps no batches"
_ERRORS = {
    401: "`unauthorized`, where keys are set",
    404: "`not_found`: there is no such batch, or it is another key's",
    406: "`not_acceptable`",
    422: "`invalid_request`",
    501: _OFF,
    503: "`batches_unavailable`",
}
_SUBMIT_ERRORS = {
    400: "`malformed_json`: the compression is damaged",
    413: "`payload_too_large`",
    415: "`unsupported_encoding`",
    429: "`overloaded`: too many batches are unfinished, or on their way in",
    503: "`batches_unavailable`, `shutting_down`",
    504: "`deadline_exceeded`: nothing more of the body came",
    507: "`insufficient_storage`: the disk is full, or nearly",
}

STATUS_EXAMPLE: Json = {
    "id": "9641838138ea4c2a8ed1efad69888023",
    "task": "qa",
    "state": "running",
    "total": 20000,
    "done": 8112,
    "failed": 3,
    "invalid": 1,
    "eta_s": 7.4,
    "reason": None,
    "created_at": "2026-11-21T20:15:54.760Z",
    "started_at": "2026-11-21T20:15:54.960Z",
    "ended_at": None,
    "expires_at": None,
}


def batch_paths(tasks: Sequence[str], lines: Sequence[str], answers: Sequence[str]) -> Json:
    """Return the paths.

    Args:
        tasks: their names.
        lines: names of the schemas of their lines.
        answers: names of the schemas of their answers.
    """
    one = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    line = {"anyOf": [_ref(name) for name in lines]}
    answer = {"anyOf": [_ref(name) for name in answers]}
    return {
        "/v1/batches": {
            "post": _submit(tasks, line),
            "get": _operation(
                "batches",
                "The batches of this key, the newest first.",
                [_query("limit", 100), {**_query("after"), "description": "The last id seen."}],
                _json(_ref("BatchList"), {"batches": [STATUS_EXAMPLE]}),
                _ERRORS,
            ),
        },
        "/v1/batches/{id}": {
            "get": _operation("batch", "How far a batch is.", [one], _status(), _ERRORS),
            "delete": _operation(
                "cancel_batch",
                "Cancel a batch; what has a result keeps it, and what has ended stays as it is.",
                [one],
                _status(),
                _ERRORS,
            ),
        },
        "/v1/batches/{id}/results": {
            "get": _operation(
                "batch_results",
                "The results so far, each line once, in the order of the input.",
                [one, {**_query("offset", 0), "description": "The first line wanted, counted from 0."}],
                {NDJSON: {"schema": {"anyOf": [_result(answer), _ref("LineError")]}}},
                _ERRORS,
            )
        },
    }


def _submit(tasks: Sequence[str], line: Json) -> Json:
    task = {"name": "task", "in": "query", "required": True, "schema": {"type": "string", "enum": [*tasks]}}
    key = {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "A repeat with the same key and the same body answers the same batch.",
        "schema": {"type": "string", "maxLength": 255},
    }
    taken = _operation(
        "submit_batch",
        "Submit many requests, one a line; they are answered whatever becomes of this connection.",
        [task, key],
        _status(),
        _ERRORS | _SUBMIT_ERRORS,
        status="202",
    )
    return {**taken, "requestBody": {"required": True, "content": {NDJSON: {"schema": line}}}}


def _result(answer: Json) -> Json:
    return {
        "type": "object",
        "required": ["id", "index", "result"],
        "properties": {
            "id": {"type": ["string", "integer"]},
            "index": {"type": "integer"},
            "result": answer,
        },
    }


def _operation(  # noqa: PLR0917 - in the order of the document
    name: str,
    summary: str,
    parameters: list[Json],
    content: Json,
    errors: dict[int, str],
    status: str = "200",
) -> Json:
    failures = {
        str(code): {"description": text, "content": _json(_ref("ErrorEnvelope"))}
        for code, text in sorted(errors.items())
    }
    responses = {status: {"description": "Success", "content": content}, **failures}
    return {
        "operationId": name,
        "tags": ["batches"],
        "summary": summary,
        "parameters": parameters,
        "responses": responses,
    }


def _status() -> Json:
    return _json(_ref("BatchStatus"), STATUS_EXAMPLE)


def _query(name: str, usual: int | None = None) -> Json:
    schema: Json = (
        {"type": "string"} if usual is None else {"type": "integer", "minimum": 0, "default": usual}
    )
    return {"name": name, "in": "query", "schema": schema}


def _json(schema: Json, example: Json | None = None) -> Json:
    return {"application/json": {"schema": schema} | ({"example": example} if example else {})}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}
