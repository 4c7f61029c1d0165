"""A server process on ports of its own, and tritonclient's four clients behind one form of calling."""

import gc
import inspect
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import tritonclient.grpc as grpc_client
import tritonclient.grpc.aio as grpc_aio_client
import tritonclient.http as http_client
import tritonclient.http.aio as http_aio_client

ROOT = Path(__file__).parents[3]
MODULES = {
    "http": http_client,
    "http.aio": http_aio_client,
    "grpc": grpc_client,
    "grpc.aio": grpc_aio_client,
}


@dataclass(frozen=True)
class Address:
    http: str
    grpc: str


@contextmanager
def running(folder, log, **settings):
    """Run a server of the bundles in ``folder`` until the block ends."""
    ports = free_ports(2)
    address = Address(f"127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[1]}")
    environment = {**os.environ, "ENGRAM_MODEL_REPOSITORY": str(folder), "ENGRAM_METRICS_PORT": "0"}
    environment |= {"ENGRAM_PORT": str(ports[0]), "ENGRAM_GRPC_PORT": str(ports[1]), "ENGRAM_DRAIN_S": "0"}
    environment |= {f"ENGRAM_{name.upper()}": str(value) for name, value in settings.items()}
    with log.open("wb") as stderr:
        command = [sys.executable, "-m", "server"]
        with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=stderr) as process:
            try:
                wait_until_ready(address.http, process, log)
                yield address
            finally:
                process.terminate()


def free_ports(count):
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def wait_until_ready(address, process, log):
    while True:
        assert process.poll() is None, log.read_text()
        with (
            suppress(urllib.error.URLError, ConnectionError),
            urllib.request.urlopen(f"http://{address}/v2/health/ready"),
        ):
            return
        time.sleep(0.05)


class Client:
    """One of tritonclient's four clients, called the same way whichever it is."""

    def __init__(self, kind, address, **options):
        self.kind = kind
        self.module = MODULES[kind]
        self.speaks_grpc = kind.startswith("grpc")
        self.raw = self.module.InferenceServerClient(
            address.grpc if self.speaks_grpc else address.http, **options
        )

    async def __call__(self, method, *arguments, **named):
        result = getattr(self.raw, method)(*arguments, **named)
        return await result if inspect.isawaitable(result) else result

    async def tell(self, method, *arguments, **named):
        """Call a method that describes something; every client then gives plain values."""
        as_json = {"as_json": True} if self.speaks_grpc else {}
        return await self(method, *arguments, **named, **as_json)

    def inputs(self, arrays, *, binary=True):
        inputs = []
        for name, array in arrays.items():
            datatype = "BYTES" if array.dtype == object else TYPES[array.dtype.name]
            tensor = self.module.InferInput(name, list(array.shape), datatype)
            tensor.set_data_from_numpy(array, **({} if self.speaks_grpc else {"binary_data": binary}))
            inputs.append(tensor)
        return inputs

    def outputs(self, *names, binary=True, **options):
        form = {} if self.speaks_grpc else {"binary_data": binary}
        return [self.module.InferRequestedOutput(name, **form, **options) for name in names]

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self("close")
        if self.kind == "http.aio":
            gc.collect()  # it leaves answers unread, and the complaint belongs to this test


TYPES = {"int64": "INT64", "int32": "INT32", "float32": "FP32"}
