"""Servers as processes of their own, and clients that speak to them over plain sockets."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from tempfile import gettempdir
from uuid import uuid4

ROOT = Path(__file__).parents[1]
QUESTION = {"story": ["Anna took the milk.", "Anna went to the garden."], "question": "Where is the milk?"}


class ServerProcess:
    """A server on ports the system picks; its log is read all the time, so that it never waits for us."""

    def __init__(self, folder, *options, program=("-m", "server")):
        command = [sys.executable, *program, "--port", "0", "--grpc-port", "0", "--metrics-port", "0"]
        command += ["--model-repository", str(folder), "--log-format", "json"]
        command += ["--batch-file", str(Path(gettempdir()) / f"engram-{uuid4().hex}.sqlite3"), *options]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ENGRAM_")}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True
        )
        self.log = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            url = self.wait_for("listening")["url"]
        except AssertionError:
            self.kill()
            raise
        self.port = int(url.rpartition(":")[2])

    def _read(self):
        for line in self.process.stderr:
            with suppress(ValueError):
                self.log.append(json.loads(line))

    def lines(self, pattern):
        return [line for line in list(self.log) if re.search(pattern, line["message"])]

    def wait_for(self, pattern, count=1, seconds=60):
        end = time.monotonic() + seconds
        while len(found := self.lines(pattern)) < count:
            assert time.monotonic() < end, self.log
            assert self.process.poll() is None, self.log
            time.sleep(0.02)
        return found[count - 1]

    def workers(self):
        """Return the process ids of the workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(child) for child in children.split()]

    def end(self, sig=signal.SIGTERM, seconds=60):
        """Send a signal, wait for the end and return the exit status."""
        self.process.send_signal(sig)
        return self.wait(seconds)

    def wait(self, seconds=60):
        self.process.wait(seconds)
        self._reader.join(10)
        return self.process.returncode

    def kill(self):
        """Leave nothing behind, whatever the test did."""
        with suppress(FileNotFoundError):
            for worker in self.workers():
                os.kill(worker, signal.SIGKILL)
        self.process.kill()
        self.wait()
        self.process.stderr.close()


class Client:
    """One keep-alive connection. ``sent`` is whether the last request was handed over whole."""

    def __init__(self, port):
        self.port = port
        self.reader = self.writer = None

    async def request(self, method, path, body=None, headers=""):
        """Send a request and return status, JSON (or text) and whether the server will close."""
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: engram\r\nContent-Length: {len(content)}\r\n{headers}\r\n"
        self.writer.write(head.encode() + content)
        await self.writer.drain()
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(re.search(r"content-length: (\d+)", head).group(1))
        text = await self.reader.readexactly(length)
        if "connection: close" in head:
            self.close()
        status = int(head.split()[1])
        return status, json.loads(text) if text and "application/json" in head else text.decode()

    async def ask(self, body=QUESTION, **fields):
        return await self.request("POST", "/v1/qa", {**body, **fields})

    def close(self):
        if self.writer is not None:
            self.writer.close()
            self.reader = self.writer = None


async def once(port, method, path, body=None):
    """Make one request on a connection of its own."""
    client = Client(port)
    try:
        return await client.request(method, path, body)
    finally:
        client.close()


async def ask(port, body=QUESTION, **fields):
    """Ask one question on a connection of its own."""
    return await once(port, "POST", "/v1/qa", {**body, **fields})


async def until(holds, seconds=60):
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)
