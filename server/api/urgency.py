"""How urgent a request is: what its endpoint takes for granted, unless the header says otherwise."""

from __future__ import annotations

from server.api.exchange import Exchange
from server.errors import InvalidRequest
from server.runtime.lines import Priority

LABELS = {priority.label.encode("ascii"): priority for priority in Priority}


def priority_of(exchange: Exchange, usual: Priority) -> Priority:
    """Return what the header ``X-Priority`` says, ``interactive`` or ``batch``, and without it what is usual.

    Raises:
        InvalidRequest: the header says something else.
    """
    header = exchange.headers.get(b"x-priority")
    if header is None:
        return usual
    if header not in LABELS:
        known = " or ".join(priority.label for priority in Priority)
        raise InvalidRequest(f"the header X-Priority must be {known}", fields=["X-Priority"])
    return LABELS[header]
