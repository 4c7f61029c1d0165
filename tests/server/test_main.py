"""``python -m server`` as a process of its own: how it starts, answers, refuses and stops."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import orjson
import pytest

from server import __version__
from server.__main__ import main

ROOT = Path(__file__).parents[2]
QUESTION = {"story": ["Anna took the milk.", "Anna went to the garden."], "question": "Where is the milk?"}


class Process:
    """A server on a port the system picked, with its log."""

    def __init__(self, folder, *options):
        command = [sys.executable, "-m", "server", "--port", "0", "--grpc-port", "0", "--metrics-port", "0"]
        command += ["--model-repository", str(folder), *options]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ENGRAM_")}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.log = []
        self.url = self.wait_for("listening")["url"]

    def wait_for(self, message):
        for line in self.process.stderr:
            self.log.append(orjson.loads(line))
            if self.log[-1]["message"] == message:
                return self.log[-1]
        raise AssertionError(f"ended with {self.process.wait()}: {self.log}")

    def stop(self, sig=signal.SIGTERM):
        self.process.send_signal(sig)
        _, rest = self.process.communicate(timeout=20)
        self.log += map(orjson.loads, rest.splitlines())
        return self.process.returncode


@pytest.fixture
def serve(repository_folder):
    started = []

    def start(*options):
        started.append(Process(repository_folder, *options))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
        server.process.communicate()


def test_server_answers_logs_drains_and_stops(serve):
    server = serve("--drain-s", "0.5")
    with httpx2.Client(base_url=server.url) as client:
        assert client.get("/health/ready").json() == {"status": "ready"}
        response = client.post("/v1/qa", json=QUESTION, headers={"X-Request-Id": "mine"})
        assert response.json()["model"] == {"name": "tiny", "version": 1}
        assert client.get("/v1/models").json()["models"][0]["device"] == "cpu"

        server.process.send_signal(signal.SIGTERM)
        draining = wait_until(lambda: client.get("/health/ready"), lambda answer: answer.status_code == 503)
        assert draining.json()["error"]["code"] == "shutting_down"
        assert client.post("/v1/qa", json=QUESTION).status_code == 200
    assert server.stop() == 0
    line = next(line for line in server.log if line.get("request_id") == "mine")
    assert line.items() >= {"path": "/v1/qa", "status": 200, "model": "tiny", "batch_size": 1}.items()


def test_interrupt_stops_at_once(serve):
    server = serve("--drain-s", "60")
    began = time.monotonic()
    assert server.stop(signal.SIGINT) == 0
    assert time.monotonic() - began < 10


def test_request_in_flight_survives_the_shutdown(serve):
    server = serve("--drain-s", "0")
    host, port = server.url.removeprefix("http://").split(":")
    body = orjson.dumps(QUESTION)
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST /v1/qa HTTP/1.1\r\nHost: engram\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body[:10])
        time.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        connection.sendall(body[10:])
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    assert server.stop() == 0


def test_taken_port_is_told_in_plain_words(repository_folder, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["--port", str(port), "--model-repository", str(repository_folder)]) == 2
    message = capsys.readouterr().err
    assert f"port {port} on 127.0.0.1 is taken" in message
    assert f"ENGRAM_PORT={port + 1}" in message
    assert "Traceback" not in message


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--port", "http"], "ENGRAM_PORT"),
        (["--model-repository", "/nonexistent"], "there is no model bundle in /nonexistent"),
        (["--host", "0.0.0.0"], "ENGRAM_ALLOW_ANONYMOUS=1"),
        (["--host", "engram.example"], "ENGRAM_ALLOW_ANONYMOUS=1"),
        (["--host", "engram.invalid", "--allow-anonymous", "1"], "cannot listen on engram.invalid"),
        (["--models", "../x"], "is not a model name"),
    ],
    ids=["port", "no-bundle", "all-addresses", "other-host", "no-such-host", "model-name"],
)
def test_refusal_is_plain(repository_folder, capsys, arguments, expected):
    assert main(["--model-repository", str(repository_folder), *arguments]) == 2
    message = capsys.readouterr().err
    assert message.startswith("engram: ")
    assert expected in message
    assert "Traceback" not in message


def test_help_teaches_every_setting(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert "ENGRAM_MODEL_REPOSITORY" in text
    assert "--device auto|cpu|cuda" in text
    for option in ("--api-keys-file FILE", "--batch-keep-hours HOURS", "--timeout-ms MILLISECONDS"):
        assert option in text
    assert "default False" not in text
    assert "examples:" in text


def test_version_is_told(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"engram {__version__}\n"


def wait_until(ask, is_enough, seconds=10):
    end = time.monotonic() + seconds
    while not is_enough(answer := ask()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return answer
