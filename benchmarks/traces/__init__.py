"""Traces: files of ``POST /v1/qa`` bodies, one a line, and how they become bytes on the wire."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

TRACES = Path(__file__).parent
TWENTY_FACTS = "qa-20-facts.jsonl"
MIXED = "qa-mixed.jsonl"


class Request(TypedDict):
    """The body of a request: everything else has its default, so attention comes in full."""

    story: list[str]
    question: str


def read_trace(name: str) -> list[Request]:
    """Return the requests of a trace."""
    return [json.loads(line) for line in (TRACES / name).read_text(encoding="utf-8").splitlines()]


def http_post(path: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """Return a POST as it goes over the wire, on a connection that stays open."""
    fields = {
        "Host": "localhost",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **(headers or {}),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode("ascii") + body


def qa_posts(requests: list[Request], headers: Mapping[str, str] | None = None) -> list[bytes]:
    """Return the requests as posts to ``/v1/qa``."""
    return [http_post("/v1/qa", json.dumps(request).encode(), headers) for request in requests]
