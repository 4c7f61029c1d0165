"""The port for metrics alone: what it has, what it has not, and what happens when it is taken."""

import signal
import socket

import httpx2

from server.__main__ import PortTaken, main
from tests.processes import ServerProcess
from tests.server.observability.conftest import QUESTION, TINY, of, parse
from tests.server.open_inference.clients import free_ports


def test_it_has_metrics_and_health_and_nothing_else(repository_folder):
    [port] = free_ports(1)
    server = ServerProcess(repository_folder, "--metrics-port", str(port), "--drain-s", "0")
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{server.port}") as client:
            assert client.post("/v1/qa", json=QUESTION).status_code == 200
            everywhere = client.get("/metrics")
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}") as client:
            found = parse(client.get("/metrics").text)
            assert of(found, "nv_inference_request_success", **TINY) == 1
            assert of(found, "engram_http_requests_total", route="/v1/qa", status="200") == 1
            assert client.get("/health/ready").status_code == 200
            for path in ("/v1/models", "/docs", "/v2", "/"):
                refused = client.get(path)
                assert refused.status_code == 404
                assert "this port has /metrics" in refused.text
            assert client.post("/v1/qa", json=QUESTION).status_code == 404
        assert parse(everywhere.text).keys() <= found.keys()
        assert server.end(signal.SIGTERM) == 0
    finally:
        server.kill()


def test_a_taken_port_that_was_asked_for_ends_the_start(repository_folder, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        options = ["--port", "0", "--metrics-port", str(port)]
        assert main([*options, "--model-repository", str(repository_folder)]) == 2
    assert f"ENGRAM_METRICS_PORT={port + 1}" in capsys.readouterr().err


def test_a_second_server_goes_without_the_usual_port(repository_folder, monkeypatch):
    served = []

    def listen(host, port, setting):
        if setting == "metrics_port":
            raise PortTaken
        return socket.create_server((host, port))

    monkeypatch.delenv("ENGRAM_METRICS_PORT")
    monkeypatch.setattr("server.__main__._listen", listen)
    monkeypatch.setattr("server.__main__._prepare", lambda settings, listeners: served.append(listeners))
    monkeypatch.setattr("server.__main__.serve", lambda app, listeners: True)
    assert main(["--port", "0", "--model-repository", str(repository_folder)]) == 0
    assert served == [1]
