"""One version of one model in this process: its bundle, its batcher, and whether it can answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from server.contract.bundle import Bundle
from server.runtime.batcher import Run
from server.runtime.options import RuntimeOptions
from server.tasks import Task

State = Literal["loading", "ready", "failed", "unloaded"]


class LoadedModel:
    """A model that is loading, ready, failed or unloaded; ``reason`` says why it is not ready.

    ``bundle`` and ``task`` are ``None`` until they are read; both are there once ``state`` is ``ready``.
    """

    name: str
    version: int
    state: State
    reason: str | None
    bundle: Bundle | None
    task: Task | None

    def __init__(self, folder: Path, version: int, options: RuntimeOptions) -> None:
        raise NotImplementedError

    async def load(self) -> None:
        """Open and verify the bundle, replay its probes on the device it really got, start the executors.

        Never raises for a bad bundle: ``state`` becomes ``failed`` and ``reason`` says why.
        """

    async def answer(self, request: Any, deadline: float | None) -> tuple[Any, Run]:
        """Prepare, run and interpret one request of this model's task.

        Args:
            request: an instance of ``task.Request``.
            deadline: on ``time.monotonic``, in seconds.

        Raises:
            EngramError: any of ``InputError``, ``ModelNotReady`` and what ``Batcher.run`` raises.
        """
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """Return what ``GET /v1/models/{name}`` tells about this version: plain JSON values."""
        raise NotImplementedError

    async def drain(self) -> None:
        """Refuse new requests and wait until the accepted ones are answered."""

    async def close(self) -> None:
        """Free threads and memory; the state becomes ``unloaded``."""
