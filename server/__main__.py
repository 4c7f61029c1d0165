"""``python -m server``: read the settings, take the port, serve until told to stop."""

from __future__ import annotations

import errno
import ipaddress
import logging
import resource
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from server.app import EngramApp, create_app
from server.command_line import read_settings
from server.logs import configure_logging
from server.serving import BACKLOG, serve
from server.settings import Settings, SettingsError, misspelled, variable
from server.workers.supervisor import supervise

logger = logging.getLogger("server")

STUCK_MS = 30_000
"""How long a client may take nothing of an answer before the system drops the connection."""

SPARE_FILES = 256
"""Open files beside connections: models, logs, the event loop, the metrics port."""


class Refusal(Exception):
    """The server cannot start; the message says why and what to do."""


class PortTaken(Refusal):
    """Another program has the port."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server; return the exit status: 0 after a shutdown, 2 when it could not start."""
    with ExitStack() as ports:
        try:
            settings = read_settings(arguments)
            app = _build(settings)
            listeners = [ports.enter_context(_listen(settings.host, settings.port, "port"))]
            listeners += map(ports.enter_context, _listen_for_metrics(settings))
            grpc = [*map(ports.enter_context, _listen_for_grpc(settings))]
        except (SettingsError, Refusal) as error:
            print(f"engram: {error}", file=sys.stderr)  # noqa: T201 - the one message for a person at a terminal
            return 2
        _prepare(settings, len(listeners))
        if settings.workers > 1:
            return supervise(settings, sys.argv[1:] if arguments is None else arguments, listeners, grpc)
        return 0 if serve(app, listeners) else 2


def _prepare(settings: Settings, listeners: int) -> None:
    """Open the log, say in it what is odd about the settings, and allow as many files as connections take."""
    configure_logging(settings.log_level, settings.log_format)
    for name, setting in misspelled().items():
        logger.warning("%s is no setting; is it %s?", name, setting)
    if settings.metrics_port and listeners == 1:
        logger.warning(
            "port %d is taken: metrics are at /metrics of the HTTP port only", settings.metrics_port
        )
    _allow_files(settings.max_connections + SPARE_FILES)


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


def _listen_for_grpc(settings: Settings) -> list[socket.socket]:
    """Make sure that the port for gRPC is free, and keep it where several workers will open it."""
    if not settings.grpc_port:
        return []
    listener = _listen(settings.host, settings.grpc_port, "grpc_port")
    if settings.workers > 1:
        return [listener]
    listener.close()
    return []


def _allow_files(count: int) -> None:
    """Raise this process's limit of open files, or say that it is too low for the connections allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
    if enough < count:
        logger.warning("the system allows %d open files, too few for %s", hard, variable("max_connections"))


if __name__ == "__main__":
    sys.exit(main())
