"""``python -m server.workers``: one worker, started by the supervisor and by nobody else.

Its first argument names inherited sockets by their numbers, the control channel's first; the rest is the
server's own command line.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

from server.app import create_app
from server.command_line import read_settings
from server.logs import configure_logging
from server.serving import serve
from server.workers.member import Member


def main(sockets: str, *arguments: str) -> int:
    """Serve until told to stop; return the exit status."""
    settings = read_settings(arguments)
    configure_logging(settings.log_level, settings.log_format)
    control, *listeners = (socket.socket(fileno=int(number)) for number in sockets.split(","))
    member = Member(control, orphaned=lambda: os.kill(os.getpid(), signal.SIGTERM))
    app = create_app(settings, fleet=member)
    return 0 if serve(app, listeners, started=member.ready) else 2


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
