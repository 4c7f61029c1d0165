"""Bytes out, replies in: a client that sends whatever it is given, and waits no longer than it should."""

import gzip
import re
import socket
import zlib
from contextlib import suppress
from dataclasses import dataclass

BOUND_S = 15.0
"""Every request is answered, or its connection closed, within this time; a deadline is 5 s here."""


@dataclass(frozen=True)
class Reply:
    """What came back, its compression undone."""

    status: int
    headers: dict
    body: bytes


class Silence(Exception):
    """The server closed the connection without a reply."""


class Connection:
    """A connection that stays open from request to request and is opened anew when the server closed it."""

    def __init__(self, port):
        self._port = port
        self._socket = self._file = None

    def send(self, method, path, headers=None, body=b""):
        """Send a request and return the reply."""
        lines = {"Host": "fuzz", "Content-Length": str(len(body)), **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        data = f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("utf-8", "surrogatepass") + body
        try:
            return self._send(data, method)
        except (Silence, ConnectionError):  # closed after the reply before
            self.close()
            return self._send(data, method)

    def _send(self, data, method):
        if self._socket is None:
            self._socket = connect(self._port)
            self._file = self._socket.makefile("rb")
        with suppress(ConnectionError):  # refused before its end; the reply says why
            self._socket.sendall(data)
        reply = read_reply(self._file, method)
        if reply.headers.get("connection") == "close":
            self.close()
        return reply

    def close(self):
        if self._socket is not None:
            self._file.close()
            self._socket.close()
            self._socket = None


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=BOUND_S)


def read_reply(file, method="GET"):
    """Read one reply; raise Silence where there is none and TimeoutError where nothing happens."""
    line = file.readline(1000)
    if not line:
        raise Silence
    match = re.fullmatch(rb"HTTP/1\.1 (\d{3}) [ -~]*\r\n", line)
    assert match, f"no status line: {line!r}"
    headers = {}
    while (line := file.readline(10_000)) != b"\r\n":
        assert line.endswith(b"\r\n"), f"no header: {line!r}"
        name, value = line.decode("latin-1").split(":", 1)
        headers[name.lower()] = value.strip()
    status = int(match[1])
    if status == 100:  # "go on", before the reply itself
        return read_reply(file, method)
    body = b"" if method == "HEAD" else _body(file, headers)
    inflate = {"gzip": gzip.decompress, "deflate": zlib.decompress}
    return Reply(status, headers, inflate.get(headers.get("content-encoding"), bytes)(body))


def _body(file, headers):
    if headers.get("transfer-encoding") != "chunked":
        return file.read(int(headers["content-length"]))
    chunks = []
    while size := int(file.readline(100), 16):
        chunks.append(file.read(size))
        assert file.read(2) == b"\r\n"
    assert file.read(2) == b"\r\n"
    return b"".join(chunks)
