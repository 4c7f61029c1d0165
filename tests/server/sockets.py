"""The application behind real sockets, and a client that sends bytes as they are."""

import asyncio
import json
from contextlib import asynccontextmanager

import orjson
import uvicorn

from server.api.connection import BoundedProtocol, ConnectionLimits
from server.api.hot_connection import connection_protocol
from tests.server.api.conftest import QUESTION
from tests.server.security.test_opaque import check_opaque

BODY = orjson.dumps(QUESTION)
LIMITS = {"connections": 50, "head_bytes": 2000, "headers": 20, "chunks": 10, "head_s": 5.0}


@asynccontextmanager
async def serving(app, *, hot=True, **changes):
    """Serve the application on a port the system picks, with some limits tightened; give the port."""
    limits = ConnectionLimits(**LIMITS | changes)
    if hot:
        protocol = connection_protocol(limits, app.hot_path)
    else:
        protocol = type("Connection", (BoundedProtocol,), {"limits": limits})
    config = uvicorn.Config(app, port=0, http=protocol, log_config=None, lifespan="off", server_header=False)
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = server.force_exit = True
        await server.shutdown()


class Connection:
    """A client that sends bytes as they are."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def send(self, *parts):
        for part in parts:
            self.writer.write(part if isinstance(part, bytes) else part.encode())
            await self.writer.drain()

    async def raw_answer(self):
        """Read one answer: its status and the bytes of its body; ``headers`` keeps its headers."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)
        self.headers = dict(line.lower().split(b": ", 1) for line in head.splitlines()[1:-1])
        return int(head.split()[1]), await self.reader.readexactly(int(self.headers[b"content-length"]))

    async def answer(self):
        """Read one answer: its status and its body."""
        status, body = await self.raw_answer()
        check_opaque(body.decode())
        return status, json.loads(body)

    async def refused(self, status, code):
        """Read an answer that is an error, after which the connection ends."""
        found, body = await self.answer()
        assert (found, body["error"]["code"]) == (status, code)
        assert set(body["error"]) == {"code", "message", "details", "request_id"}
        assert self.headers[b"connection"] == b"close"
        assert await self.ended()
        return body["error"]

    async def ended(self):
        try:
            return await asyncio.wait_for(self.reader.read(), 10) == b""
        except ConnectionResetError:
            return True


@asynccontextmanager
async def connected(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


def ask(*headers, body=BODY):
    return "\r\n".join(["POST /v1/qa HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers, "", ""])
