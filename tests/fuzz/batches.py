"""Requests below ``/v1/batches``: lines that are no requests, bytes that are no lines, made-up ids, keys."""

import gzip
import json
import random
import zlib

from tests.conformance.wire import Request
from tests.fuzz.mutations import JUNK, as_json, scramble, spoil

ENDS = (b"\n", b"\n", b"\n", b"\r\n", b"\n\n", b"\r", b"\x00", b"\xe2\x80\xa8", b"")
LINES = (
    *(
        b"",
        b" ",
        b"\xef\xbb\xbf{}",
        b"[]",
        b"{}",
        b"null",
        b"9" * 5000,
        b"[" * 3000,
        b'"\xff\xfe"',
        b'{"id":',
    ),
    *(b'{"id": "\\ud800"}', b'{"story": [], "story": []}', b"{" + b" " * 1_200_000 + b"}"),
)
IDS = (None, True, 0, -1, 2**64, 1.5, "", "a", "x" * 128, "x" * 129, "\ud800", "\x00", [], {"id": 1})
NUMBERS = (
    "0",
    "1",
    "-1",
    "00",
    "9" * 400,
    "1e3",
    "\uff11",
    "",
    "x",
    "%00",
    "1001",
    str(2**53),
    str(2**53 + 1),
)
STRANGERS = ("nobody", "-", "..%2f..%2fetc", "%00", "a" * 300, "%F0%9F%92%A5", "0" * 32)
KEYS = ("a", "b", "c", "x" * 255, "x" * 256, "", " ", "a b", "\xe9", "{}")
TASKS = (*["qa"] * 12, "read", "translate", "", "x" * 3000, "%00", "qa&task=read", "qa/batch")


def submissions(question, seed):
    """Yield batches to submit without end; ``question`` is a request whose answer is known."""
    dice = random.Random(seed)
    while True:
        body = b"".join(_line(dice, question) + dice.choice(ENDS) for _ in range(dice.randrange(12)))
        headers = {}
        match dice.randrange(8):
            case 0:
                body = scramble(dice, body)
            case 1:
                headers["Content-Encoding"] = dice.choice(("gzip", "deflate", "br", "gzip, gzip"))
                body = dice.choice((gzip.compress(body), zlib.compress(body), body))
            case 2:
                headers["Idempotency-Key"] = dice.choice(KEYS)
            case 3:
                headers["Accept"] = dice.choice(("text/plain", "application/x-ndjson", "*/*;q=0", ","))
        yield Request("POST", f"/v1/batches?task={dice.choice(TASKS)}", headers, body)


def visits(known, seed):
    """Yield requests about batches without end; ``known`` grows while they are made."""
    dice = random.Random(seed)
    while True:
        name = dice.choice(STRANGERS) if not known or dice.random() < 0.3 else dice.choice(known)
        number = dice.choice(NUMBERS)
        path = dice.choice(
            (
                f"/v1/batches?limit={number}&after={name}",
                f"/v1/batches/{name}",
                f"/v1/batches/{name}/results?offset={number}",
                f"/v1/batches/{name}/results",
            )
        )
        yield Request(dice.choice(("GET", "GET", "GET", "HEAD", "PUT", "PATCH")), path, {}, b"")


def _line(dice, question):
    kind = dice.randrange(6)
    if kind == 0:
        return dice.choice(LINES)
    asked = question | {"id": dice.choice(IDS) if dice.random() < 0.2 else f"line {dice.randrange(9)}"}
    if kind == 1:
        asked = spoil(dice, asked)
    elif kind == 2:
        asked = asked | {
            dice.choice(("unknown_words", "attention", "timeout_ms", "model")): dice.choice(JUNK)
        }
    body = as_json(asked).replace(b"\n", b" ")
    return scramble(dice, body) if kind == 3 else body


def results(body):
    """Return the lines of a batch's results."""
    return [json.loads(line) for line in body.splitlines()]
