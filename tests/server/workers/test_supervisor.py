"""``python -m server --workers 2``: one port, two processes, and what happens when one of them is killed."""

import asyncio
import os
import signal
import socket

import pytest

from server.__main__ import main
from server.settings import Settings
from server.workers.sockets import share
from server.workers.supervisor import supervise
from tests.processes import QUESTION, Client, ServerProcess, once
from tests.server.fakes import until, write_bundle


@pytest.fixture
def serve(repository_folder):
    started = []

    def start(*options):
        started.append(ServerProcess(repository_folder, "--workers", "2", "--drain-s", "0.5", *options))
        return started[-1]

    yield start
    for server in started:
        server.kill()


OWN = 'nv_inference_request_success{model="tiny"'


async def answered_by_metrics(port):
    _, text = await once(port, "GET", "/metrics")
    [line] = [line for line in text.splitlines() if line.startswith(OWN)]
    return float(line.split()[-1])


async def test_workers_share_a_port_orders_and_counts_outlive_one_and_end_together(serve, repository_folder):
    server = serve("--admin-keys", "root", "--api-keys", "key")
    port, workers = server.port, server.workers()
    assert len(workers) == 2
    key = "Authorization: Bearer root\r\n"

    async def ask_all(clients):
        return [
            status
            for status, _ in await asyncio.gather(
                *(c.request("POST", "/v1/qa", QUESTION, key) for c in clients)
            )
        ]

    clients = [Client(port) for _ in range(16)]
    for _ in range(5):
        assert await ask_all(clients) == [200] * 16
    for _ in range(6):  # whichever worker is asked
        assert await answered_by_metrics(port) == 80

    write_bundle(repository_folder / "second", default=False)
    status, _ = await clients[0].request("POST", "/v2/repository/models/second/load", {}, key)
    assert status == 200
    for client in clients:
        assert (await client.request("GET", "/v1/models/second", headers=key))[1]["state"] == "ready"

    await asyncio.sleep(1.2)  # counts are handed over once a second
    os.kill(workers[0], signal.SIGKILL)
    outcomes = await asyncio.gather(
        *(c.request("GET", "/v1/models/second", headers=key) for c in clients), return_exceptions=True
    )
    lost = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert len(lost) < len(clients)  # those of the other worker never noticed
    server.wait_for("another takes its place")
    server.wait_for("worker . takes requests", 3)
    assert workers[1] in server.workers()
    assert len(server.workers()) == 2
    for client in clients:
        client.close()
    clients = [Client(port) for _ in range(16)]
    for client in clients:
        status, told = await client.request("GET", "/v1/models/second", headers=key)
        assert (status, told["state"]) == (200, "ready")
    assert await ask_all(clients) == [200] * 16
    assert await answered_by_metrics(port) == 96
    for client in clients:
        client.close()
    assert server.end() == 0


@pytest.mark.slow
async def test_workers_are_replaced_connections_wait_for_them_and_they_do_not_outlive_their_supervisor(serve):
    server = serve()
    first = server.workers()
    for worker in first:
        os.kill(worker, signal.SIGKILL)
    statuses = await asyncio.gather(*(once(server.port, "POST", "/v1/qa", QUESTION) for _ in range(8)))
    assert [status for status, _ in statuses] == [200] * 8
    server.wait_for("worker . takes requests", 4)
    os.kill(server.workers()[0], signal.SIGTERM)  # a good end is no reason to stay away either
    server.wait_for("worker . takes requests", 5)
    workers = server.workers()
    assert not {*first} & {*workers}
    server.process.kill()
    await until(lambda: not any(map(is_alive, workers)), seconds=60)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_start_that_fails_ends_the_server(repository_folder, monkeypatch):
    monkeypatch.setattr("server.workers.supervisor.WORKER", "server.no_such_module")
    listener = socket.create_server(("127.0.0.1", 0))
    assert supervise(Settings(workers=2), [], [listener], []) == 1


def test_a_port_for_grpc_that_is_taken_is_told_before_any_worker_starts(repository_folder, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        arguments = ["--workers", "2", "--port", "0", "--metrics-port", "0", "--grpc-port", str(port)]
        assert main([*arguments, "--model-repository", str(repository_folder)]) == 2
    assert f"port {port} on 127.0.0.1 is taken" in capsys.readouterr().err


def test_shared_sockets_listen_on_the_port_of_the_one_they_replace():
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    shares = share(listener, 3)
    assert listener.fileno() == -1
    assert [each.getsockname() for each in shares] == [address] * 3
    for _ in range(8):
        socket.create_connection(address).close()
    with pytest.raises(OSError, match="in use"):
        socket.create_server(address)
    for each in shares:
        each.close()
