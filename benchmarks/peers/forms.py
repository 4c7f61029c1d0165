"""How each server is asked and how it answers: plain JSON, a list of it, or a string of the V2 protocol."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.traces import Request


@dataclass(frozen=True)
class Form:
    """A way to ask: from a request to a body, and from the body of the answer to ours."""

    ask: Callable[[Request], Any]
    read: Callable[[Any], dict[str, Any]]

    def body(self, request: Request) -> bytes:
        """Return the body of a request."""
        return json.dumps(self.ask(request)).encode()

    def answer(self, body: bytes) -> dict[str, Any]:
        """Return what an answer says, as ``POST /v1/qa`` would say it."""
        return self.read(json.loads(body))


def _v2(request: Request) -> dict[str, Any]:
    tensor = {"name": "request", "datatype": "BYTES", "shape": [1, 1], "data": [json.dumps(request)]}
    return {"inputs": [tensor]}


PLAIN = Form(lambda request: request, lambda told: told)
ITEMS = Form(lambda request: {"items": [request]}, lambda told: told[0])
V2 = Form(_v2, lambda told: json.loads(told["outputs"][0]["data"][0]))
