"""Requests below ``/v2``: those of the conformance runner, spoilt in JSON, bytes, lengths or headers."""

import gzip
import json
import random
import struct

from tests.conformance.cases import Round
from tests.conformance.wire import LENGTH, Request
from tests.fuzz.mutations import JUNK, as_json, scramble, spoil

DATATYPES = (
    "BOOL",
    "UINT8",
    "UINT64",
    "INT8",
    "INT64",
    "FP16",
    "BF16",
    "FP32",
    "FP64",
    "BYTES",
    "",
    "\ud800",
)
SIZES = (0, 1, -1, 2, 3, 24, 25, 2**20, 2**31, 2**40, 2**62, 2**63 - 1, 2**63, 10**30, 10**4200)
TEXTS = ("\ud800", "💥", "\x00", "", "a" * 9000)
OTHERS = (
    *("/v2/logging", "/v2/trace/setting", "/v2/repository/index", "/v2/systemsharedmemory/unregister"),
    *("/v2/repository/models/dmn-plus-tiny/load", "/v2/repository/models/..%2f../unload"),
    *("/v2/cudasharedmemory/region/x/register", "/v2/systemsharedmemory/region/%00/register"),
    *("/v2/models/dmn-plus-tiny/trace/setting", "/v2/models/stats", "/v2//", "/v2/models//infer", "/v2%00"),
)
HEADERS = (
    {},
    {"Accept-Encoding": "gzip"},
    {"Accept-Encoding": "deflate;q=1e9,*"},
    {"Content-Encoding": "gzip"},
    {"Content-Encoding": "deflate"},
    {LENGTH: "0"},
    {LENGTH: "-0"},
    {LENGTH: "1" * 40},
    {LENGTH: "١٢"},
    {LENGTH: ""},
    {"X-Timeout-Ms": "0.0001"},
)


def requests(models, seed):
    """Yield requests without end."""
    dice, number = random.Random(seed), 0
    while True:
        number += 1
        model = dice.choice(models)
        for case in Round(model, dice, number).cases():
            yield _spoilt(dice, case.request)
        body = as_json(dice.choice(JUNK))
        yield Request(dice.choice(("POST", "GET", "DELETE")), dice.choice(OTHERS), {}, scramble(dice, body))


def _spoilt(dice, request):
    length = int(request.headers[LENGTH]) if request.headers.get(LENGTH, "").isdigit() else len(request.body)
    head, tail = request.body[:length], request.body[length:]
    headers = dict(request.headers)
    match dice.randrange(8):
        case 0:
            return request
        case 1:
            head = scramble(dice, head)
        case 2:
            tail = scramble(dice, tail or head[:9])
        case 3:
            headers[LENGTH] = str(dice.choice((0, 1, length - 1, length + 1, len(request.body), 10**11)))
        case 4:
            headers |= dice.choice(HEADERS)
            if headers.get("Content-Encoding") == "gzip" and dice.random() < 0.8:
                return Request(request.method, request.path, headers, gzip.compress(head + tail))
        case _:
            head = _spoilt_json(dice, head)
    if LENGTH in headers and headers[LENGTH] == str(length) and dice.random() < 0.9:
        headers[LENGTH] = str(len(head))
    return Request(request.method, request.path, headers, head + tail)


def _spoilt_json(dice, head):
    try:
        asked = json.loads(head)
        inputs = [entry for entry in asked["inputs"] if isinstance(entry, dict)]
    except (ValueError, KeyError, TypeError, RecursionError):
        return scramble(dice, head)
    match dice.randrange(6):
        case 0 if inputs:
            shape = dice.choice(inputs)["shape"]
            place = dice.randrange(len(shape) + 1)
            shape[place : place + 1] = [dice.choice(SIZES)] * dice.choice((1, 1, 2, 40))
        case 1 if inputs:
            dice.choice(inputs)["datatype"] = dice.choice(DATATYPES)
        case 2 if inputs:
            wish = {"binary_data_size": dice.choice((*SIZES, True, "8", 1.5, None))}
            dice.choice(inputs)["parameters"] = wish
        case 3:
            name = dice.choice(("timeout", "binary_data_output", "priority", "sequence_id", "unknown_words"))
            asked["parameters"] = {name: dice.choice(JUNK)}
        case 4:
            asked |= {"id": dice.choice(TEXTS), "parameters": {"x": float("nan"), "y": dice.choice(TEXTS)}}
        case _:
            for _ in range(dice.randint(1, 3)):
                asked = spoil(dice, asked)
    return as_json(asked)


def texts(dice, words):
    """Return the bytes of a BYTES tensor, of which a length is a lie."""
    items = [struct.pack("<I", len(word)) + word.encode() for word in words]
    place = dice.randrange(len(items))
    lie = dice.choice((0, 1, 2**16, 2**31, 2**32 - 1, len(items[place])))
    items[place] = struct.pack("<I", lie) + items[place][4:]
    return b"".join(items)
