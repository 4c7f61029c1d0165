"""Requests as bytes and replies as arrays: the protocol over HTTP, written from its text.

Nothing of the server is used here, so that a mistake of the server is not repeated by its judge.
"""

import gzip
import http.client
import json
import struct
import zlib
from dataclasses import dataclass, field
from math import prod
from urllib.parse import urlsplit

import numpy as np

LENGTH = "Inference-Header-Content-Length"
DTYPES = {
    "BOOL": "?",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}


@dataclass(frozen=True)
class Request:
    """What goes over the wire."""

    method: str
    path: str
    headers: dict = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Reply:
    """What came back, its compression undone."""

    status: int
    headers: dict
    body: bytes


class Server:
    """One connection to a server, opened again whenever it was closed."""

    def __init__(self, url):
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=60)
        self._prefix = parts.path.rstrip("/")

    def send(self, request):
        try:
            return self._send(request)
        except (http.client.HTTPException, ConnectionError):
            self._connection.close()
            return self._send(request)

    def _send(self, request):
        self._connection.putrequest(request.method, self._prefix + request.path, skip_accept_encoding=True)
        for name, value in {"Content-Length": str(len(request.body)), **request.headers}.items():
            self._connection.putheader(name, value)
        self._connection.endheaders(request.body)
        response = self._connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, headers, inflate(response.read(), headers.get("content-encoding")))

    def close(self):
        self._connection.close()


def inflate(body, encoding):
    return {"gzip": gzip.decompress, "deflate": zlib.decompress}.get(encoding, bytes)(body)


def json_input(name, datatype, array, *, nested=False):
    if datatype == "BYTES":
        array = np.array([item.decode() for item in array.flat], dtype=object).reshape(array.shape)
    values = array.tolist() if nested else array.ravel().tolist()
    return {"name": name, "shape": list(array.shape), "datatype": datatype, "data": values}


def binary_input(name, datatype, array):
    data = to_bytes(datatype, array)
    entry = {"name": name, "shape": list(array.shape), "datatype": datatype}
    return entry | {"parameters": {"binary_data_size": len(data)}}, data


def infer(path, inputs, parts=(), headers=None, **body):
    """Make an inference; with ``parts`` they follow the JSON."""
    head = json.dumps({"inputs": inputs, **body}).encode()
    length = {LENGTH: str(len(head))} if parts else {}
    return Request("POST", path, length | (headers or {}), b"".join([head, *parts]))


def to_bytes(datatype, array):
    if datatype == "BYTES":
        return b"".join(struct.pack("<I", len(item)) + item for item in array.flat)
    return np.ascontiguousarray(array, DTYPES[datatype]).tobytes()


def from_bytes(datatype, shape, data):
    if datatype != "BYTES":
        return np.frombuffer(data, DTYPES[datatype]).reshape(shape)
    items = []
    while data:
        (length,) = struct.unpack_from("<I", data)
        items.append(data[4 : 4 + length])
        data = data[4 + length :]
    return np.array(items, dtype=object).reshape(shape)


def outputs_of(reply):
    """Return the head of an answer and its outputs as arrays; raise ValueError where it breaks the format."""
    length = reply.headers.get(LENGTH.lower())
    cut = len(reply.body) if length is None else int(length)
    head = json.loads(reply.body[:cut], parse_constant=_refuse)
    tail, arrays = reply.body[cut:], {}
    for output in head["outputs"]:
        name, datatype, shape = output["name"], output["datatype"], output["shape"]
        size = output.get("parameters", {}).get("binary_data_size")
        if size is None:
            data = [str(item).encode() for item in output["data"]] if datatype == "BYTES" else output["data"]
            array = np.array(data, dtype=object if datatype == "BYTES" else DTYPES[datatype])
        else:
            array, tail = from_bytes(datatype, [-1], tail[:size]), tail[size:]
        if array.size != prod(shape):
            raise ValueError(f"output {name} has {array.size} elements for the shape {shape}")
        arrays[name] = array.reshape(shape)
    if tail:
        raise ValueError(f"{len(tail)} bytes belong to no output")
    return head, arrays


def _refuse(constant):
    raise ValueError(f"{constant} is no JSON")
