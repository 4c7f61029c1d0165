"""When an answer is due: the smallest of the setting, the header and what the request itself says."""

from __future__ import annotations

from server.api.exchange import Exchange
from server.errors import InvalidRequest


def due(exchange: Exchange, limit_ms: float, timeout_ms: float | None = None) -> float:
    """Return when the answer is due, on ``time.monotonic``.

    Args:
        exchange: the request, for its arrival and the header ``X-Timeout-Ms``.
        limit_ms: the setting.
        timeout_ms: the request's own wish.

    Raises:
        InvalidRequest: the header is no positive number.
    """
    shortest = min(timeout_ms or limit_ms, limit_ms)
    header = exchange.headers.get(b"x-timeout-ms")
    if header is not None:
        shortest = min(shortest, _positive(header))
    return exchange.started + shortest / 1000


def _positive(header: bytes) -> float:
    try:
        value = float(header)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise InvalidRequest("the header X-Timeout-Ms must be a positive number", fields=["X-Timeout-Ms"])
    return value
