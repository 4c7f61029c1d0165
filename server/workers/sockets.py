"""Sockets for several workers on one port, each with a queue of connections of its own.

Workers on a single socket would be simpler, but whichever wakes first takes every connection that waits:
16 that came at once went 16 to 0. With a socket each, the system spreads them. The supervisor keeps all of
them open, so that connections outlive the worker they wait for: its successor takes them.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence

from server.serving import BACKLOG


def share(listener: socket.socket, count: int) -> list[socket.socket]:
    """Replace a listening socket by ``count`` that listen on the same port."""
    shares = _replaced(listener, count)
    for each in shares:
        each.listen(BACKLOG)
    return shares


def hold(listeners: Sequence[socket.socket]) -> list[socket.socket]:
    """Replace listening sockets by some that only keep the ports, for workers that open them themselves."""
    return [each for listener in listeners for each in _replaced(listener, 1)]


def _replaced(listener: socket.socket, count: int) -> list[socket.socket]:
    family, address = listener.family, listener.getsockname()
    # Accepted connections inherit it.
    linux = sys.platform == "linux"
    timeout_ms = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) if linux else 0
    listener.close()
    shares = [socket.socket(family, socket.SOCK_STREAM) for _ in range(count)]
    for each in shares:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if linux:
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)
        each.bind(address)
    return shares
