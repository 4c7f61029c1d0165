"""TorchServe: a handler that gets a batch of bodies and returns as many results."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from ts.torch_handler.base_handler import BaseHandler

sys.path.insert(0, os.environ["BENCHMARKED_SERVERS"])  # the archive holds this file alone

import graph


class Qa(BaseHandler):
    """One worker process of one session."""

    def initialize(self, context: Any) -> None:
        """Open the graph."""
        self.session = graph.open_graph()
        self.initialized = True

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[dict[str, Any]]:
        """Run a batch."""
        return graph.as_json([_decoded(row.get("body") or row["data"]) for row in data], self.session)


def _decoded(body: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(body) if isinstance(body, bytes | bytearray | str) else body
    return found
