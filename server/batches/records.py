"""What a batch is made of: the batch itself, parts of its lines that one process works on, results."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

State = Literal["queued", "running", "done", "failed", "cancelled"]
"""``failed`` is a batch that ended without any answer; one of which a part has answers is ``done``."""

OPEN: tuple[State, ...] = ("queued", "running")
"""States in which there is work left."""


class NoSuchBatch(Exception):
    """There is no batch of that id, or it is somebody else's."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Whose batch it is, and the word by which a repeat is known."""

    owner: str
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch that was received whole.

    Attributes:
        id: a name nobody can guess.
        task: which task answers its lines.
        state: how far it is.
        total: lines.
        done: lines that have an answer.
        failed: lines that have an error instead, ``invalid`` included.
        invalid: lines that were no requests and never reached a model.
        reason: why no work is done at the moment, if there is a reason.
        created_at: seconds since 1970, as all moments here.
        started_at: when work on it began.
        ended_at: when the last line had its result, or when it was cancelled.
        expires_at: when it and its results are removed.
        eta_s: seconds until the end, from the rate so far; ``None`` where there is none yet.
    """

    id: str
    task: str
    state: State
    total: int
    done: int
    failed: int
    invalid: int
    reason: str | None
    created_at: float
    started_at: float | None
    ended_at: float | None
    expires_at: float | None
    eta_s: float | None

    @property
    def is_open(self) -> bool:
        """Whether there is work left."""
        return self.state in OPEN


class Line(NamedTuple):
    """One line of a batch: its place, counted from 0, and its bytes."""

    number: int
    body: bytes


class PartKey(NamedTuple):
    """Which part of which batch: the number of its first line."""

    batch_id: str
    first: int


@dataclass(frozen=True, slots=True)
class Part:
    """Some lines in a row, leased to one process; those that have a result already are left out.

    ``attempts`` counts how often it was leased without any result: a line in it may end processes.
    """

    key: PartKey
    task: str
    lines: tuple[Line, ...]
    attempts: int


class Result(NamedTuple):
    """What became of a line: the bytes that are sent to whoever asks, one line of JSON."""

    number: int
    body: bytes
    failed: bool


@dataclass(frozen=True, slots=True)
class Settlement:
    """Results of one part, and whether they are its last."""

    key: PartKey
    results: tuple[Result, ...]
    is_whole: bool


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """What one process has done for batches.

    Attributes:
        lines: lines that were ``done`` and that ``failed`` here.
        batches: batches that were ``accepted`` here, and those that ended here, by their state.
    """

    lines: Counter[str] = field(default_factory=Counter)
    batches: Counter[str] = field(default_factory=Counter)
