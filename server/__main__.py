"""``python -m server``: read the settings, take the port, serve until told to stop."""

from __future__ import annotations

import argparse
import errno
import ipaddress
import logging
import resource
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType, NoneType
from typing import Any, get_args

import uvicorn

from server import __version__
from server.api.connection import ConnectionLimits, bounded_protocol
from server.api.lifecycle import Stage
from server.app import EngramApp, create_app
from server.logs import configure_logging
from server.settings import Settings, SettingsError, load_settings, misspelled, variable

logger = logging.getLogger("server")

BACKLOG = 2048
"""Connections the system keeps waiting while the event loop is busy (uvicorn's default)."""

STUCK_MS = 30_000
"""How long a client may take nothing of an answer before the system drops the connection."""

SPARE_FILES = 256
"""Open files beside connections: models, logs, the event loop, the metrics port."""

ABOUT = """\
Serve every model bundle of a folder over HTTP, with the attention behind each answer.

Every option can also be set by the variable named beside it; an option wins over its variable.
"""

EXAMPLES = """\
examples:
  python -m server                                     every bundle in model_repository, on port 8000
  python -m server --port 9000 --models dmn-plus-babi  one model, on another port
  ENGRAM_DEVICE=cuda python -m server                  refuse to start a model that would not run on CUDA

Then open http://127.0.0.1:8000/docs
"""


class Refusal(Exception):
    """The server cannot start; the message says why and what to do."""


class PortTaken(Refusal):
    """Another program has the port."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server; return the exit status: 0 after a shutdown, 2 when it could not start."""
    try:
        settings = load_settings(**_options(arguments))
        app = _build(settings)
        listener = _listen(settings.host, settings.port, "port")
        listeners = [listener, *_listen_for_metrics(settings)]
    except (SettingsError, Refusal) as error:
        print(f"engram: {error}", file=sys.stderr)  # noqa: T201 - the one message for a person at a terminal
        return 2
    configure_logging(settings.log_level, settings.log_format)
    for name, setting in misspelled().items():
        logger.warning("%s is no setting; is it %s?", name, setting)
    if settings.metrics_port and len(listeners) == 1:
        logger.warning(
            "port %d is taken: metrics are at /metrics of the HTTP port only", settings.metrics_port
        )
    _allow_files(settings.max_connections + SPARE_FILES)
    with ExitStack() as stack:
        for each in listeners:
            stack.enter_context(each)
        _serve(app, listeners)
    return 0


def _options(arguments: Sequence[str] | None) -> dict[str, Any]:
    """Parse the command line, which has one option for each setting; only given ones are returned."""
    parser = argparse.ArgumentParser(
        prog="python -m server",
        usage="%(prog)s [options]",
        description=ABOUT,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--version", action="version", version=f"engram {__version__}")
    for name, field in Settings.model_fields.items():
        default = "none" if field.default in ((), None) else field.default
        parser.add_argument(
            "--" + name.replace("_", "-"),
            metavar=_form(field.annotation),
            help=f"{field.description} [{variable(name)}, default {default}]".replace("%", "%%"),
        )
    return vars(parser.parse_args(arguments))


def _form(annotation: Any) -> str:
    """Return what a setting of this type looks like on the command line."""
    if annotation is bool:
        return "0|1"
    choices = [
        choice for kind in get_args(annotation) or (annotation,) for choice in get_args(kind) or (kind,)
    ]
    if all(isinstance(choice, str) or choice is NoneType for choice in choices):
        return "|".join(choice for choice in choices if isinstance(choice, str))
    return {int: "NUMBER", float: "SECONDS", Path: "FOLDER"}.get(annotation, "TEXT")


def _build(settings: Settings) -> EngramApp:
    """Build the application, unless it could never answer or would answer strangers."""
    folder = settings.model_repository
    if not any(folder.glob("*/manifest.json")):
        raise Refusal(
            f"there is no model bundle in {folder}.\n"
            f"Name the folder that holds them with --model-repository or {variable('model_repository')}; "
            "python -m export makes bundles."
        )
    try:
        app = create_app(settings)
    except ValueError as error:
        raise Refusal(str(error)) from None
    if not (app.keys.required or settings.allow_anonymous or _is_loopback(settings.host)):
        raise Refusal(
            f"{settings.host} can be reached from other machines, and requests carry no key.\n"
            f"Set {variable('api_keys')} or {variable('api_keys_file')}, or listen on 127.0.0.1, or set "
            f"{variable('allow_anonymous')}=1 when a proxy or a firewall decides who gets here."
        )
    return app


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(host: str, port: int, setting: str) -> socket.socket:
    """Take the port before any model is loaded, so that a taken one is told at once."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address, family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(
                f"port {port} on {host} is taken by another program.\n"
                f"Stop that one, or choose another port: --{setting.replace('_', '-')} {port + 1} "
                f"or {variable(setting)}={port + 1}"
            ) from None
        raise Refusal(f"cannot listen on {host} port {port}: {error.strerror or error}") from None
    if sys.platform == "linux":  # accepted connections inherit it
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STUCK_MS)
    return listener


def _listen_for_metrics(settings: Settings) -> list[socket.socket]:
    """Take the port for metrics; a second server may find the usual one taken and does without."""
    if not settings.metrics_port:
        return []
    try:
        return [_listen(settings.host, settings.metrics_port, "metrics_port")]
    except PortTaken:
        if "metrics_port" in settings.model_fields_set:
            raise
        return []


def _allow_files(count: int) -> None:
    """Raise this process's limit of open files, or say that it is too low for the connections allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
    if enough < count:
        logger.warning("the system allows %d open files, too few for %s", hard, variable("max_connections"))


def _serve(app: EngramApp, listeners: list[socket.socket]) -> None:
    settings = app.settings
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=bounded_protocol(ConnectionLimits.of(settings)),
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
    DrainingServer(config, app, listeners[0], settings.drain_s).run(sockets=listeners)


class DrainingServer(uvicorn.Server):
    """A server that after SIGTERM first reports not ready, and only then stops taking connections.

    Ctrl-C skips that wait, and a second signal of either kind does too.
    """

    def __init__(
        self, config: uvicorn.Config, app: EngramApp, listener: socket.socket, drain_s: float
    ) -> None:
        super().__init__(config)
        self._app = app
        self._address = listener.getsockname()
        self._drain_s = drain_s
        self._stop_at: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say where."""
        await super().startup(sockets)
        host, port = self._address[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        logger.info("listening", extra={"fields": {"url": url, "docs": f"{url}/docs"}})

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain, or stop at once; ``on_tick`` does the rest on the event loop."""
        self._app.lifecycle.stage = Stage.DRAINING
        if self.should_exit:
            self.force_exit = True
        elif self._stop_at is None and sig == signal.SIGTERM:
            self._stop_at = time.monotonic() + self._drain_s
        else:
            self._stop_at = time.monotonic()

    async def on_tick(self, counter: int) -> bool:
        """Stop taking work once the drain is over; called ten times a second."""
        if self._stop_at is not None and time.monotonic() >= self._stop_at:
            self._app.lifecycle.stage = Stage.STOPPING
            self.should_exit = True
        return await super().on_tick(counter)


if __name__ == "__main__":
    sys.exit(main())
