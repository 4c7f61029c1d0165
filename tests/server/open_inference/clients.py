"""A server process with both its doors open, and tritonclient's four clients behind one form of calling."""

import gc
import inspect
import socket
from contextlib import contextmanager
from dataclasses import dataclass

import tritonclient.grpc as grpc_client
import tritonclient.grpc.aio as grpc_aio_client
import tritonclient.http as http_client
import tritonclient.http.aio as http_aio_client

from tests.processes import ServerProcess

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
def running(folder):
    """Run a server of the bundles in ``folder`` until the block ends."""
    [port] = free_ports(1)
    server = ServerProcess(folder, "--grpc-port", str(port))
    try:
        yield Address(f"127.0.0.1:{server.port}", f"127.0.0.1:{port}")
    finally:
        server.kill()


def free_ports(count):
    """Return ports that nobody listens on."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


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
