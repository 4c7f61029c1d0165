"""A server whose graph takes its time, dies or hangs when told to; started by tests as a process.

The story's words say what happens: ``box`` kills the executor, ``cellar`` hangs it, and ``lamp`` marks a
request, so that the log can tell whether it ran.
"""

import logging
import os
import socket
import sys
import threading
import time

from server.app import create_app, open_repository
from server.command_line import read_settings
from server.logs import configure_logging
from server.serving import serve
from tests.server.fakes import WORDS, FakeSession

RUN_S = float(os.environ.get("SLOW_RUN_S", "0.05"))
DEADLY, HANGING, MARKED = (WORDS.index(word) + 2 for word in ("box", "cellar", "lamp"))

logger = logging.getLogger("slow")


class SlowSession(FakeSession):
    """Runs arithmetic after a while, but probes at once."""

    def run(self, inputs, outputs):
        words = inputs["story_tokens"]
        if threading.current_thread().name != "engram-executor":
            return super().run(inputs, outputs)
        if (words == DEADLY).any():
            raise SystemExit
        if (words == HANGING).any():
            time.sleep(3600)
        marked = int((words == MARKED).any(axis=(1, 2)).sum())
        logger.info("ran", extra={"fields": {"rows": len(words), "marked": marked}})
        time.sleep(RUN_S)
        return super().run(inputs, outputs)


def main(arguments):
    settings = read_settings(arguments)
    configure_logging(settings.log_level, settings.log_format)
    repository = open_repository(settings)
    repository._open_session = lambda *_: SlowSession()
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    return 0 if serve(create_app(settings, repository), [listener]) else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
