"""gRPC with two workers: one port, calls spread over both, and counts that are those of the whole server."""

import os
import signal

import numpy as np
import pytest
import tritonclient.grpc.aio as grpc_client
import tritonclient.http.aio as http_client

from tests.processes import ServerProcess
from tests.server.open_inference.clients import free_ports

CHANNELS, CALLS = 8, 5


@pytest.fixture
def server(repository_folder):
    [port] = free_ports(1)
    server = ServerProcess(repository_folder, "--workers", "2", "--grpc-port", str(port))
    server.grpc = f"127.0.0.1:{port}"
    server.wait_for("worker . takes requests", 2)
    yield server
    server.kill()


def fresh_client(server):
    """Return a client with a connection of its own: channels to one address share theirs otherwise."""
    return grpc_client.InferenceServerClient(
        server.grpc, channel_args=[("grpc.use_local_subchannel_pool", 1)]
    )


def inputs():
    arrays = {"story_tokens": np.array([[[2, 6, 8]]]), "question_tokens": np.array([[22]])}
    made = [grpc_client.InferInput(name, array.shape, "INT64") for name, array in arrays.items()]
    for tensor, array in zip(made, arrays.values(), strict=True):
        tensor.set_data_from_numpy(array)
    return made


async def answered(server):
    """Ask both doors for the counts, each some times, so that either worker tells them."""
    counts = set()
    for _ in range(4):
        async with (
            fresh_client(server) as rpc,
            http_client.InferenceServerClient(f"127.0.0.1:{server.port}") as web,
        ):
            for told in (
                await rpc.get_inference_statistics("tiny", as_json=True),
                await web.get_inference_statistics("tiny"),
            ):
                counts.add(int(told["model_stats"][0]["inference_stats"]["success"]["count"]))
    return counts


@pytest.mark.slow
async def test_two_workers_share_the_grpc_port_count_together_and_stand_in_for_each_other(server):
    clients = [fresh_client(server) for _ in range(CHANNELS)]
    for client in clients:
        for _ in range(CALLS):
            result = await client.infer("tiny", inputs())
            assert result.as_numpy("attention").shape == (1, 3, 1)
        await client.close()
    assert await answered(server) == {CHANNELS * CALLS}
    os.kill(server.workers()[0], signal.SIGKILL)
    server.wait_for("worker . takes requests", 3)
    for _ in range(CHANNELS):
        async with fresh_client(server) as client:
            assert await client.is_server_ready()
            await client.infer("tiny", inputs())
    assert server.end() == 0
