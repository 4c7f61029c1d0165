"""Whether the server takes work, as seen from outside: serving, draining, stopping."""

from __future__ import annotations

from enum import Enum

from server.errors import ShuttingDown


class Stage(Enum):
    """The three stages of a server's life, in order."""

    SERVING = "serving"
    DRAINING = "draining"
    """Reports not ready, so that a load balancer turns away, and still answers."""
    STOPPING = "stopping"
    """Finishes what it has and refuses the rest."""


class Lifecycle:
    """The stage the server is in; ``python -m server`` moves it, handlers ask it."""

    def __init__(self) -> None:
        self.stage = Stage.SERVING

    def require_open(self) -> None:
        """Raise ShuttingDown when no new work is taken."""
        if self.stage is Stage.STOPPING:
            raise ShuttingDown("the server is shutting down and takes no new work")
