"""TorchServe: a handler that gets a batch of bodies and returns as many results."""

from __future__ import annotations

import json
from typing import Any

import same_work
from ts.torch_handler.base_handler import BaseHandler


class Qa(BaseHandler):
    """One worker process of one session."""

    def initialize(self, context: Any) -> None:
        """Open the model."""
        self.model = same_work.open_model()
        self.initialized = True

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[dict[str, Any]]:
        """Run a batch."""
        return same_work.objects(self.model, [_decoded(row.get("body") or row["data"]) for row in data])


def _decoded(body: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(body) if isinstance(body, bytes | bytearray | str) else body
    return found
