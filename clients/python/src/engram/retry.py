"""When to ask again, and after how long: pure functions of an attempt and an answer's headers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRIED_STATUSES = frozenset({429, 502, 503, 504})
"""Statuses that may pass. 500 is not among them: the same request would fail the same way."""

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 8.0
LONGEST_RETRY_AFTER_S = 60.0
JITTER = 0.25
"""The part of a wait that chance may take away, so that clients do not come back together."""


def backoff_s(attempt: int, random: Callable[[], float]) -> float:
    """Return the wait after failed attempt 0, 1, 2, …: 0.5 s doubling to 8 s, less up to a quarter.

    ``random`` returns a number in [0, 1).
    """
    wait_s = min(FIRST_WAIT_S * 2.0 ** min(attempt, 16), LONGEST_WAIT_S)
    return wait_s * (1.0 - JITTER * random())


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Read ``Retry-After``, in seconds or as a date; ``None`` when it is absent or unreadable.

    A date is compared with the answer's own ``Date`` where there is one, so a client whose clock
    is wrong waits no longer than the server meant.
    """
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        until = _date(value)
        if until is None:
            return None
        seconds = (until - (_date(headers.get("date", "")) or now)).total_seconds()
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def wait_s(attempt: int, retry_after: float | None, random: Callable[[], float]) -> float:
    """Return the wait before the next attempt: the server's wish (60 s at most), else the backoff."""
    if retry_after is not None:
        return min(retry_after, LONGEST_RETRY_AFTER_S)
    return backoff_s(attempt, random)


def _date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
