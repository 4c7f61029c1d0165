"""What this process does when the fleet says so, and what the counts of the others are."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Literal

import msgspec

from server.api.metrics import Metrics
from server.api.snapshot import Snapshot
from server.errors import ModelNotFound
from server.runtime.fleet import BEQUEATH, INHERIT, Fleet, Orders
from server.runtime.repository import Repository

SNAPSHOT = "snapshot"

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Snapshot).decode


def connect(fleet: Fleet, repository: Repository, metrics: Metrics) -> Orders:
    """Have changes and counts go through the fleet; return the orders that it may give here."""

    async def spread(verb: Literal["load", "unload"], reference: str) -> None:
        await fleet.everywhere(verb, reference.encode())

    async def elsewhere() -> list[Snapshot]:
        return [_decode(answer) for answer in await fleet.elsewhere(SNAPSHOT)]

    async def load(reference: bytes) -> bytes:
        await repository.load_here(reference.decode())
        return b""

    async def unload(reference: bytes) -> bytes:
        await repository.unload_here(reference.decode())
        return b""

    async def snapshot(_: bytes) -> bytes:
        return _encode(metrics.snapshot())

    async def bequeath(_: bytes) -> bytes:
        return _encode(counts_of(metrics.snapshot()))

    async def inherit(counts: bytes) -> bytes:
        taken = _decode(counts)
        take_over(taken, repository, metrics.http)
        metrics.batches.lines.update(taken.batch_lines)
        metrics.batches.batches.update(taken.batches)
        return b""

    repository.spread, metrics.elsewhere = spread, elsewhere
    return {"load": load, "unload": unload, SNAPSHOT: snapshot, BEQUEATH: bequeath, INHERIT: inherit}


def counts_of(snapshot: Snapshot) -> Snapshot:
    """Return what of a snapshot outlives its process: counts, but neither queues nor executors."""
    models = [
        replace(model, ready=True, executors=0, waiting=0, waiting_cells={}, running=0)
        for model in snapshot.models
    ]
    return replace(snapshot, models=models, process={}, batch_running=0)


def take_over(counts: Snapshot, repository: Repository, http: Counter[tuple[str, int]]) -> None:
    """Go on counting where a predecessor ended."""
    http.update(counts.http)
    for model in counts.models:
        try:
            repository.get(f"{model.name}:{model.version}").statistics.include(model.statistics)
        except ModelNotFound:
            continue
