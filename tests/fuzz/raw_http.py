"""HTTP as bytes: broken heads, floods, chunks, lengths that lie, bombs, pipelines, halves and snails."""

import gzip
import json
import random
import socket
import time
import zlib
from dataclasses import dataclass

from tests.fuzz.mutations import scramble
from tests.fuzz.wire import Silence, connect, read_reply

QUESTION = json.dumps({"story": ["Ada walked to the attic."], "question": "Where is Ada?"}).encode()
MEGABYTE = 2**20


@dataclass(frozen=True)
class Attempt:
    """Bytes for a connection of their own, in parts with pauses.

    Attributes:
        replies: how many replies may come; after them the client leaves.
        half: whether the client ends its side after the last byte.
        leaves: whether the client is gone without reading anything.
        path: where it goes, which decides the form of errors.
    """

    kind: str
    parts: tuple
    replies: int = 1
    half: bool = False
    leaves: bool = False
    pause_s: float = 0.0
    path: str = "/v1/qa"


def send(port, attempt):
    """Make an attempt; return its replies, none where the server closed the connection without any."""
    replies = []
    with connect(port) as connection, connection.makefile("rb") as file:
        try:
            for part in attempt.parts:
                connection.sendall(part)
                time.sleep(attempt.pause_s)
            if attempt.leaves:
                return replies
            if attempt.half:
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the server has closed: its reply may still be there
        try:
            while len(replies) < attempt.replies:
                replies.append(read_reply(file))
        except (Silence, ConnectionError):
            pass
    return replies


def head(*lines, method="POST", path="/v1/qa", version="HTTP/1.1"):
    return "\r\n".join([f"{method} {path} {version}", "Host: fuzz", *lines, "", ""]).encode("latin-1")


def question(*lines, body=QUESTION, path="/v1/qa"):
    return head(f"Content-Length: {len(body)}", *lines, path=path) + body


def chunked(pieces, *, last=b"0\r\n\r\n", path="/v1/qa"):
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return head("Transfer-Encoding: chunked", path=path) + body + last


def attempts(seed):
    """Yield attempts without end; the expensive ones are few."""
    dice = random.Random(seed)
    yield from _slow()
    yield from _bombs()
    while True:
        yield from _broken(dice)
        yield from _floods(dice)
        yield from _chunks(dice)
        yield from _lengths(dice)
        yield from _whole(dice)
        for _ in range(20):
            path = dice.choice(("/v1/qa", "/v1/qa/batch", "/v2/models/dmn-plus-tiny/infer"))
            line, rest = question("Connection: close", path=path).split(b"\r\n", 1)
            yield Attempt(
                "scrambled", (line + b"\r\n" + scramble(dice, rest),), half=dice.random() < 0.7, path=path
            )


def _slow():
    yield Attempt("nothing at all", (), replies=1, leaves=False)
    yield Attempt("a head that never ends", (b"POST /v1/qa HTTP/1.1\r\nHost: fuzz\r\nX: ",))
    yield Attempt("a body that never comes", (head("Content-Length: 50"),))
    yield Attempt("a body that never ends", (head("Content-Length: 50"), b"{"))
    yield Attempt("a chunk that never ends", (head("Transfer-Encoding: chunked"), b"50\r\n{"))
    snail = question()
    yield Attempt("a head byte by byte", tuple(bytes([byte]) for byte in snail[:60]), pause_s=0.05)
    body = tuple(bytes([byte]) for byte in QUESTION)
    yield Attempt("a body byte by byte", (head(f"Content-Length: {len(QUESTION)}"), *body), pause_s=0.01)
    yield Attempt("two snails in one", (snail + snail[:20], snail[20:]), replies=2, pause_s=0.3)


def _bombs():
    zeros = gzip.compress(bytes(200 * MEGABYTE), 1)
    blanks = gzip.compress(QUESTION + b" " * 30 * MEGABYTE)
    for path in ("/v1/qa", "/v1/qa/batch", "/v2/models/dmn-plus-tiny/infer"):
        yield Attempt("a bomb", (question("Content-Encoding: gzip", body=zeros, path=path),), path=path)
        yield Attempt("blanks", (question("Content-Encoding: gzip", body=blanks, path=path),), path=path)
        twice = gzip.compress(gzip.compress(bytes(MEGABYTE)))
        yield Attempt(
            "a bomb in a bomb", (question("Content-Encoding: gzip", body=twice, path=path),), path=path
        )
        large = b"[" * 8 * MEGABYTE
        yield Attempt("8 MB of brackets", (question(body=large, path=path),), path=path)
        yield Attempt("9 MB", (question(body=large + b"[" * MEGABYTE, path=path),), path=path)
        text = json.dumps({"story": "a " * 4 * MEGABYTE, "question": "b " * 9}).encode()
        yield Attempt("a long story", (question(body=text[: 8 * MEGABYTE], path=path),), path=path)
        numbers = b'{"inputs":[{"name":"a","datatype":"INT64","shape":[' + b"9223372036854775807," * 200_000
        numbers += b'1],"data":[1]}]}'
        yield Attempt("a shape of many sizes", (question(body=numbers, path=path),), path=path)


def _broken(dice):
    for line in (
        *(
            "",
            " ",
            "GET",
            "GET /",
            "GET / HTTP/9.9",
            "GET / HTTP/1.1 x",
            "G\x00T / HTTP/1.1",
            "get / http/1.1",
        ),
        *(
            "GET  / HTTP/1.1",
            "GET /\xff HTTP/1.1",
            "GET http:// HTTP/1.1",
            "GET * HTTP/1.1",
            "\x16\x03\x01\x02",
        ),
        *(
            "CONNECT a:1 HTTP/1.1",
            "OPTIONS * HTTP/1.1",
            "PRI * HTTP/2.0",
            "GET /%zz HTTP/1.1",
            "GET ? HTTP/1.1",
        ),
        *(
            "POST /v1/../v1/qa HTTP/1.1",
            "GET //x HTTP/1.1",
            "GET / HTTP/1.0",
            "GET /#f HTTP/1.1",
            "GET x HTTP/1.1",
        ),
    ):
        yield Attempt(
            f"the line {line!r}", (f"{line}\r\nHost: a\r\n\r\n".encode("latin-1"),), half=True, path="/"
        )
    for field in (
        *(
            "no colon",
            ": no name",
            "a b: c",
            "a\x00: b",
            "a: \x00",
            "a:\x01b",
            " folded: x",
            "Host: b",
            "a:" + "b" * 9,
        ),
        *("Content-Length: x", "Content-Length: -1", "Content-Length: 1, 2", "Content-Length: " + "9" * 30),
        *("Content-Length: +5", "Content-Length: 0x5", "Content-Length:", "Transfer-Encoding: gzip"),
        *(
            "Transfer-Encoding: chunked, identity",
            "Transfer-Encoding: xchunked",
            "Connection: upgrade\r\nUpgrade: h2c",
        ),
        *(
            "Expect: 100-continue",
            "Expect: x",
            "Upgrade: websocket\r\nConnection: Upgrade",
            "X-Request-Id: \xff",
        ),
        *("Sec-WebSocket-Key: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13",),
        *("Content-Length: 3\r\nContent-Length: 4", "Content-Length: 3\r\nTransfer-Encoding: chunked"),
    ):
        yield Attempt(f"the field {field[:60]!r}", (head(field) + b"{}\r\n",), half=True)
    yield Attempt("random bytes", (dice.randbytes(dice.randint(1, 400)),), half=True, path="/")
    yield Attempt("only line feeds", (question().replace(b"\r\n", b"\n", dice.randint(1, 4)),), half=True)
    yield Attempt("blank lines first", (b"\r\n" * dice.randint(1, 9) + question(),))


def _floods(dice):
    path = dice.choice(("/v1/qa", "/v2/models/dmn-plus-tiny/infer"))
    many = [f"X-{number}: y" for number in range(dice.choice((90, 101, 3000)))]
    yield Attempt("many fields", (question(*many, path=path),), path=path)
    yield Attempt(
        "a long field",
        (question("X: " + "y" * dice.choice((31_000, 33_000, 200_000)), path=path),),
        path=path,
    )
    yield Attempt("a long name", (question("y" * 40_000 + ": x"),))
    yield Attempt(
        "a long path", (head(method="GET", path="/" + "a" * dice.choice((9_000, 70_000))),), path="/"
    )
    yield Attempt("a long query", (question(path="/v1/qa?" + "a=b&" * 5_000),))
    yield Attempt("a flood that goes on", (head()[:-2], *(b"X: y\r\n" * 500 for _ in range(20))))


def _chunks(dice):
    size = dice.randint(1, 9)
    pieces = [QUESTION[start : start + size] for start in range(0, len(QUESTION), size)]
    yield Attempt("odd chunks", (chunked(pieces),))
    yield Attempt("chunks with trailers", (chunked(pieces, last=b"0\r\nX: y\r\nContent-Length: 5\r\n\r\n"),))
    yield Attempt(
        "chunks with extensions", (chunked(pieces).replace(b"\r\n" + pieces[0], b";a=b\r\n" + pieces[0]),)
    )
    yield Attempt("chunks cut off", (chunked(pieces, last=b""),), half=True)
    for size in (b"-1", b"x", b"", b"ffffffffffffffffff", b"7fffffffffffffff", b"0x5", b" 5", b"5" * 999):
        data = head("Transfer-Encoding: chunked") + size + b"\r\n" + QUESTION + b"\r\n0\r\n\r\n"
        yield Attempt(f"the chunk size {size[:20]!r}", (data,), half=True)
    yield Attempt(
        "a chunk larger than it says", (chunked(pieces).replace(b"\r\n0\r\n", b"xx\r\n0\r\n"),), half=True
    )
    if dice.random() < 0.2:
        yield Attempt("very many chunks", (chunked([b" "] * 10_001),))


def _lengths(dice):
    short, long = dice.randint(0, len(QUESTION) - 1), len(QUESTION) + dice.randint(1, 99)
    yield Attempt("a length too small", (head(f"Content-Length: {short}") + QUESTION,))
    yield Attempt("a length too large", (head(f"Content-Length: {long}") + QUESTION,), half=True)
    yield Attempt("a length beyond every limit", (head("Content-Length: 99999999999") + QUESTION,))
    yield Attempt("a length and no body, gone", (head("Content-Length: 9"),), leaves=True)
    squeezed = gzip.compress(QUESTION)
    cut = squeezed[: dice.randint(0, len(squeezed) - 1)]
    for kind, encoding, body in (
        ("gzip cut off", "gzip", cut),
        ("gzip with more behind", "gzip", squeezed + dice.randbytes(9)),
        ("gzip scrambled", "gzip", scramble(dice, squeezed)),
        ("gzip twice", "gzip", squeezed * 2),
        ("raw deflate", "deflate", zlib.compress(QUESTION)[2:-4]),
        ("deflate that is gzip", "deflate", squeezed),
        ("gzip of nothing", "gzip", gzip.compress(b"")),
        ("nothing that is gzip", "gzip", b""),
    ):
        yield Attempt(kind, (question(f"Content-Encoding: {encoding}", body=body),))


def _whole(dice):
    count = dice.randint(2, 40)
    yield Attempt("a pipeline", (question() * count,), replies=count)
    yield Attempt("a pipeline, gone", (question() * count,), leaves=True)
    yield Attempt(
        "a pipeline with a bad one", (question() + head("Content-Length: x") + question(),), replies=3
    )
    yield Attempt(
        "a pipeline by halves", (question() + question()[:50], question()[50:]), replies=2, pause_s=0.01
    )
    yield Attempt("asked and half closed", (question(),), half=True)
    yield Attempt("asked and gone", (question(),), leaves=True)
    yield Attempt(
        "old and open", (head("Connection: keep-alive", method="GET", path="/v1/models", version="HTTP/1.0"),)
    )
    yield Attempt(
        "smuggled", (head("Content-Length: 4", "Transfer-Encoding: chunked") + b"0\r\n\r\nGET / x\r\n\r\n",)
    )
