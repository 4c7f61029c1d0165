"""Every limit has a default, a setting that moves it, an error that tells it, and its row in the docs."""

import gzip
import json
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.api.decoding import check_depth
from server.api.http_errors import MalformedBody
from server.settings import Settings, variable
from tests.server.api.conftest import QUESTION

PAGE = Path(__file__).parents[3] / "docs" / "security.md"

DEFAULTS = {
    "max_body_bytes": 8 * 2**20,
    "max_decompressed_bytes": 32 * 2**20,
    "max_json_depth": 64,
    "max_tensor_elements": 2**20,
    "max_batch_items": 1024,
    "max_attention_weights": 100_000,
    "max_header_bytes": 32 * 2**10,
    "max_headers": 100,
    "max_chunks": 10_000,
    "max_connections": 4096,
    "max_queue_cost": 1_000_000,
    "max_queue_ms": 75,
    "header_timeout_s": 10.0,
    "keep_alive_s": 75,
    "timeout_ms": 30_000,
}


def infer(*shapes):
    inputs = [
        {"name": f"x{place}", "datatype": "INT64", "shape": shape, "data": []}
        for place, shape in enumerate(shapes)
    ]
    return "/v2/models/tiny/infer", orjson.dumps({"inputs": inputs}), {}


def nested(depth):
    return "/v1/qa", b"[" * depth + b"]" * depth, {}


GZIP = {"Content-Encoding": "gzip"}
BATCH = orjson.dumps({"requests": [QUESTION] * 3})
EXCEEDED = {
    "max_body_bytes": (100, ("/v1/qa", b" " * 101, {}), 413),
    "max_decompressed_bytes": (100, ("/v1/qa", gzip.compress(b" " * 101), GZIP), 413),
    "max_json_depth": (5, nested(6), 400),
    "max_tensor_elements": (6, infer([2, 2], [3, 1]), 400),
    "max_batch_items": (2, ("/v1/qa/batch", BATCH, {}), 422),
}
WITHIN = {
    "max_body_bytes": (100, ("/v1/qa", b" " * 100, {})),
    "max_decompressed_bytes": (100, ("/v1/qa", gzip.compress(b" " * 100), GZIP)),
    "max_json_depth": (5, nested(5)),
    "max_tensor_elements": (7, infer([2, 2], [3, 1])),
    "max_batch_items": (3, ("/v1/qa/batch", BATCH, {})),
}
"""The same requests where they are just allowed; what they are refused for then is something else."""


@pytest.mark.parametrize("setting", DEFAULTS)
def test_every_limit_has_its_default(setting):
    assert getattr(Settings(), setting) == DEFAULTS[setting]


@pytest.mark.parametrize("setting", DEFAULTS)
def test_every_limit_is_described(setting):
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    assert any(f"`{variable(setting)}`" in row and f"| {DEFAULTS[setting]:,}" in row for row in rows)


@pytest.mark.parametrize("setting", EXCEEDED)
async def test_what_is_beyond_the_limit_is_refused(open_client, setting):
    value, (path, body, headers), status = EXCEEDED[setting]
    async with open_client(**{setting: value}) as client:
        response = await client.post(path, content=body, headers=headers)
    assert response.status_code == status
    assert str(value) in response.text


@pytest.mark.parametrize("setting", WITHIN)
async def test_what_is_within_the_limit_is_not(open_client, setting):
    value, (path, body, headers) = WITHIN[setting]
    async with open_client(**{setting: value}) as client:
        response = await client.post(path, content=body, headers=headers)
    assert response.status_code != 413
    assert not any(word in response.text for word in ("nested more", "elements together", "items, expected"))


@pytest.mark.parametrize("path", ["/v1/qa", "/v1/qa/batch", "/v2/models/tiny/infer", "/v2/repository/index"])
async def test_nesting_is_bounded_everywhere(open_client, path):
    async with open_client() as client:
        response = await client.post(path, content=b'{"a":' * 65 + b"1" + b"}" * 65)
    assert response.status_code == 400
    assert "ENGRAM_MAX_JSON_DEPTH" in response.text


async def test_elements_are_bounded_before_anything_is_allocated(open_client):
    path, body, _ = infer([2**62, 2**62, 2**62])
    async with open_client() as client:
        response = await client.post(path, content=body)
    assert response.status_code == 400
    assert "ENGRAM_MAX_TENSOR_ELEMENTS" in response.text


def depth_of(value):
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


TEXTS = st.text(st.sampled_from('[]{}"\\ax\N{SNOWMAN}'), max_size=12)
VALUES = st.recursive(
    TEXTS | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=25,
)


@given(VALUES)
async def test_depth_is_that_of_the_parsed_value(value):
    body, depth = json.dumps(value).encode(), depth_of(value)
    await check_depth(body, depth)
    if depth:
        with pytest.raises(MalformedBody):
            await check_depth(body, depth - 1)


HOSTILE = {"open": b"[" * 10**6, "after a text": b'["a\\"",' + b"[" * 10**6}
FLAT = {"pairs": b"[]," * 10**6, "escapes": b'"\\"' * 10**6, "in a text": b'["' + b"[" * 10**6}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
async def test_a_hostile_body_is_refused(body):
    with pytest.raises(MalformedBody, match="ENGRAM_MAX_JSON_DEPTH"):
        await check_depth(body, 64)


@pytest.mark.parametrize("body", FLAT.values(), ids=FLAT)
async def test_brackets_that_nest_nothing_are_no_depth(body):
    await check_depth(body, 64)
