"""What clients see of a batch."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from server.batches.records import Batch, State


class BatchStatus(msgspec.Struct, frozen=True):
    """How far a batch is.

    ``done`` lines have an answer, ``failed`` ones an error, ``invalid`` of them because they are no requests.
    ``eta_s`` is the time left at the rate so far. ``reason`` says why nothing is done at the moment. After
    ``expires_at`` the batch and its results are gone.
    """

    id: str
    task: str
    state: State
    total: int
    done: int
    failed: int
    invalid: int
    eta_s: float | None
    reason: str | None
    created_at: str
    started_at: str | None
    ended_at: str | None
    expires_at: str | None


class BatchList(msgspec.Struct, frozen=True):
    """The batches of the key that asks, the newest first."""

    batches: list[BatchStatus]


def status_of_batch(batch: Batch) -> BatchStatus:
    """Return what clients see of a batch."""
    return BatchStatus(
        batch.id,
        batch.task,
        batch.state,
        batch.total,
        batch.done,
        batch.failed,
        batch.invalid,
        None if batch.eta_s is None else round(batch.eta_s, 1),
        batch.reason,
        _moment(batch.created_at),
        *(None if at is None else _moment(at) for at in (batch.started_at, batch.ended_at, batch.expires_at)),
    )


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
