"""Batches that outlive the connection: what is sent, what is told of them, results as they arrive."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from uuid import uuid4

from engram.calls import Call, Reply, encode
from engram.completing import Completion
from engram.computing import ComputeAnswer
from engram.pointing import PointAnswer
from engram.reading import ReadAnswer
from engram.results import Answer, ItemError, Payload
from engram.translating import read_translations
from engram.uploads import Upload

NDJSON = "application/x-ndjson"

OPEN = frozenset({"queued", "running"})

READERS: Mapping[str, Callable[[Payload, str | None], Any]] = {
    "qa": Answer.from_payload,
    "read": ReadAnswer.from_payload,
    "complete": Completion.from_payload,
    "point": PointAnswer.from_payload,
    "compute": ComputeAnswer.from_payload,
    "translate": read_translations,
}
"""What reads an answer of each task; ``translate`` has a list with a ``Translation`` for each text.

An answer of a task newer than this package is its payload."""

Requests = str | Path | Iterable[Mapping[str, Any]]
"""The requests of a batch: a file with one JSON object a line, or the objects themselves."""


@dataclass(frozen=True)
class Batch:
    """How far a batch is.

    Attributes:
        id: Its name, for every other call.
        task: What answers its lines.
        state: ``queued``, ``running``, ``done``, ``failed`` (no line has an answer) or ``cancelled``.
        total: Lines.
        done: Lines that have an answer.
        failed: Lines that have an error.
        invalid: Those of the failed that were no requests.
        eta_s: Seconds left at the rate so far, while it runs.
        reason: Why nothing is done at the moment, if there is a reason.
        raw: The payload as the server sent it.
    """

    id: str
    task: str
    state: str
    total: int
    done: int
    failed: int
    invalid: int
    eta_s: float | None
    reason: str | None
    raw: Payload = field(repr=False, compare=False)

    @classmethod
    def from_payload(cls, payload: Payload) -> Batch:
        """Read one batch of ``/v1/batches``."""
        return cls(
            id=payload["id"],
            task=payload["task"],
            state=payload["state"],
            total=payload["total"],
            done=payload["done"],
            failed=payload["failed"],
            invalid=payload.get("invalid", 0),
            eta_s=payload.get("eta_s"),
            reason=payload.get("reason"),
            raw=payload,
        )

    @property
    def is_open(self) -> bool:
        """Whether there is work left."""
        return self.state in OPEN

    def __str__(self) -> str:
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.id} ({self.task}): {self.state}, {self.done + self.failed} of {self.total}{failed}"


@dataclass(frozen=True)
class BatchResult:
    """What became of one line.

    Attributes:
        index: The line, counted from 0.
        id: The line's own name.
        answer: The task's answer, such as ``engram.Answer``; ``None`` if there is an error instead.
        error: Why there is no answer.
        raw: The payload as the server sent it.
    """

    index: int
    id: str | int | None
    answer: Any
    error: ItemError | None
    raw: Payload = field(repr=False, compare=False)


class ResultReader:
    """Turns the bytes of results into results. ``offset`` is the first line that has not come yet."""

    def __init__(self, task: str, offset: int) -> None:
        self.offset = offset
        self._read = READERS.get(task, _payload)
        self._rest = b""

    def begin(self) -> None:
        """Expect a new stream, which begins with a whole line; half of one may have come of the last."""
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[BatchResult]:
        """Yield what has become whole with this chunk."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            payload = json.loads(line)
            index = payload["index"]
            failed = payload.get("error")
            error = ItemError.from_payload(failed, index) if failed else None
            answer = None if failed else self._read(payload["result"], None)
            self.offset = index + 1
            yield BatchResult(index, payload.get("id"), answer, error, payload)


def submit(task: str, requests: Requests, idempotency_key: str | None) -> Call[Batch]:
    """Send a batch; a call that is repeated is known by its key."""
    headers = {"Content-Type": NDJSON, "Idempotency-Key": idempotency_key or uuid4().hex}
    if isinstance(requests, (str, Path)):
        upload = Upload.of_file(Path(requests), headers)
    else:
        upload = Upload.of_items(requests, _line, headers)
    return Call("POST", f"/v1/batches?{urlencode({'task': task})}", _read_batch, upload=upload)


def get(batch_id: str) -> Call[Batch]:
    """Ask how far a batch is."""
    return Call("GET", _path(batch_id), _read_batch)


def list_batches(limit: int, after: str | None) -> Call[list[Batch]]:
    """List batches, the newest first."""
    query = {"limit": limit} | ({"after": after} if after else {})
    return Call("GET", f"/v1/batches?{urlencode(query)}", _read_batches)


def cancel(batch_id: str) -> Call[Batch]:
    """Cancel a batch."""
    return Call("DELETE", _path(batch_id), _read_batch)


def results(batch_id: str, offset: int) -> Call[bytes]:
    """Ask for results from a line on."""
    return Call("GET", f"{_path(batch_id)}/results?offset={offset}", lambda reply: reply.body, accept=NDJSON)


def _payload(payload: Payload, _: str | None) -> Payload:
    return payload


def _line(index: int, request: Mapping[str, Any]) -> bytes:
    return encode({"id": index, **request}) + b"\n"


def _path(batch_id: str) -> str:
    return f"/v1/batches/{quote(batch_id, safe='')}"


def _read_batch(reply: Reply) -> Batch:
    return Batch.from_payload(reply.json())


def _read_batches(reply: Reply) -> list[Batch]:
    return [Batch.from_payload(item) for item in reply.json()["batches"]]
