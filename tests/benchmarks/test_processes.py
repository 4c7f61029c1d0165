import sys

import pytest

from benchmarks.processes import NotStarted, free_port, running

SERVE = """
import http.server, subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.BaseHTTPRequestHandler).serve_forever()
"""


def test_a_server_ends_with_every_process_it_started():
    port = free_port()
    with running([sys.executable, "-c", SERVE, str(port)], port, None) as server:
        server.wait(lambda: server.post("/", b"")[0] == 501)
        assert len(server.pids()) == 2
    assert server.pids() == []


def test_a_server_that_ends_at_once_is_reported_with_its_log():
    command = [sys.executable, "-c", "raise SystemExit('no model here')"]
    with running(command, free_port(), None) as server, pytest.raises(NotStarted, match="no model here"):
        server.wait(lambda: False)


def test_no_setting_of_the_caller_reaches_a_server(monkeypatch):
    monkeypatch.setenv("ENGRAM_PORT", "not a port")
    command = [sys.executable, "-c", "import os; print('ENGRAM_PORT' in os.environ)"]
    with running(command, free_port(), None) as server:
        server.process.wait(30)
        assert server.log.read_text() == "False\n"
