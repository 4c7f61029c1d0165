"""One process that serves: uvicorn around the application, and how it stops."""

from __future__ import annotations

import logging
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from types import FrameType

import uvicorn

from server.api.connection import ConnectionLimits
from server.api.hot_connection import connection_protocol
from server.api.lifecycle import Stage
from server.app import EngramApp
from server.runtime.garbage import set_aside

logger = logging.getLogger("server")

BACKLOG = 2048
"""Connections the system keeps waiting while the event loop is busy (uvicorn's default)."""

LAST_WORDS_S = 0.25
"""How long connections that were taken at the last moment have to hand over their request."""

Started = Callable[[], None]


def announce(listener: socket.socket) -> None:
    """Say where the server listens."""
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    logger.info("listening", extra={"fields": {"url": url, "docs": f"{url}/docs"}})


def serve(app: EngramApp, listeners: list[socket.socket], started: Started | None = None) -> bool:
    """Serve on these sockets until told to stop; return whether it came to serving at all.

    Args:
        app: the application.
        listeners: bound sockets; the first is the one people are told about.
        started: called once requests are taken, in place of a line in the log.
    """
    settings = app.settings
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=connection_protocol(ConnectionLimits.of(settings), app.hot_path),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=settings.shutdown_grace_s,
    )
    server = DrainingServer(config, app, started or partial(announce, listeners[0]))
    server.run(sockets=listeners)
    return server.started


class DrainingServer(uvicorn.Server):
    """A server that after SIGTERM first reports not ready, then takes no more connections, then no requests.

    Ctrl-C skips the waits, and a second signal of either kind does too.
    """

    def __init__(self, config: uvicorn.Config, app: EngramApp, started: Started) -> None:
        super().__init__(config)
        self._app = app
        self._started = started
        self._drain_s = app.settings.drain_s
        self._stop_at: float | None = None
        self._deaf = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        set_aside()
        if not self.should_exit:
            self._started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain, or stop at once; ``on_tick`` does the rest on the event loop."""
        self._app.lifecycle.stage = Stage.DRAINING
        if self.should_exit:
            self.force_exit = True
        elif self._stop_at is None and sig == signal.SIGTERM:
            self._stop_at = time.monotonic() + self._drain_s
        else:
            self._stop_at = time.monotonic()
            self._deaf = True

    async def on_tick(self, counter: int) -> bool:
        """Stop taking work once the drain is over; called ten times a second."""
        if self._stop_at is not None and time.monotonic() >= self._stop_at:
            if not self._deaf:
                self._deafen(self._stop_at + LAST_WORDS_S)
                return await super().on_tick(counter)
            self._app.lifecycle.stage = Stage.STOPPING
            self.should_exit = True
        return await super().on_tick(counter)

    def _deafen(self, stop_at: float) -> None:
        """Take no more connections, and go on with those that are open."""
        self._deaf, self._stop_at = True, stop_at
        for server in self.servers:
            server.close()
