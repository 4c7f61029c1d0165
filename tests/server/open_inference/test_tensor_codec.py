import json
from contextlib import suppress

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from server.api.open_inference import tensors
from server.api.open_inference.tensors import DTYPES, decode_binary, decode_json, encode_binary, encode_json
from server.errors import InvalidRequest

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
JSON_TYPES = [name for name in DTYPES if name not in tensors.BINARY_ONLY]


@st.composite
def named_arrays(draw, datatypes=tuple(DTYPES), *, finite=False):
    datatype = draw(st.sampled_from(datatypes))
    shape = draw(SHAPES)
    if datatype == "BYTES":
        array = np.empty(shape, dtype=object)
        items = st.lists(st.text() if finite else st.binary(), min_size=array.size, max_size=array.size)
        array.ravel()[:] = [item.encode() if finite else item for item in draw(items)]
        return datatype, array
    floats = {"allow_nan": False, "allow_infinity": False} if finite else {}
    array = draw(hnp.arrays(DTYPES[datatype], shape, elements=floats or None))
    if datatype == "BF16":
        array = array.astype(ml_dtypes.bfloat16).astype(np.float32)
    return datatype, array


def same(left, right):
    if left.dtype == object:
        return left.shape == right.shape and list(left.flat) == list(right.flat)
    return left.dtype == right.dtype and np.array_equal(left, right, equal_nan=left.dtype.kind == "f")


@given(named_arrays())
def test_what_is_written_as_bytes_is_read_back(case):
    datatype, array = case
    with np.errstate(all="ignore"):
        assert same(decode_binary("x", datatype, array.shape, encode_binary(datatype, array)), array)


@given(named_arrays(JSON_TYPES, finite=True))
def test_what_is_written_as_json_is_read_back_flat_and_nested(case):
    datatype, array = case
    flat = json.loads(bytes(encode_json("x", datatype, array)))
    assert same(decode_json("x", datatype, array.shape, flat), array)
    nested = np.array(flat, dtype=object).reshape(array.shape).tolist()
    if array.size and array.ndim:
        assert same(decode_json("x", datatype, array.shape, nested), array)


@given(st.sampled_from(list(DTYPES)), st.lists(st.integers(-3, 2**40), max_size=5), st.binary(max_size=64))
def test_any_bytes_are_a_tensor_or_refused(datatype, shape, data):
    with suppress(InvalidRequest):
        assert decode_binary("x", datatype, shape, data).shape == tuple(shape)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=12,
)


@given(st.sampled_from(JSON_TYPES), st.lists(st.integers(0, 4), max_size=3), JSON_VALUES)
def test_any_json_is_a_tensor_or_refused(datatype, shape, values):
    with suppress(InvalidRequest):
        assert decode_json("x", datatype, shape, values).shape == tuple(shape)


@given(hnp.arrays(np.float32, SHAPES, elements={"allow_nan": False}))
def test_bf16_is_rounded_to_the_nearest(array):
    with np.errstate(all="ignore"):
        expected = array.astype(ml_dtypes.bfloat16).tobytes()
        assert encode_binary("BF16", array) == expected


def test_bf16_keeps_nan():
    assert np.isnan(decode_binary("x", "BF16", [1], encode_binary("BF16", np.float32([np.nan]))))


@pytest.mark.parametrize(
    ("datatype", "shape", "values"),
    [
        ("INT64", [2], [1, 2.0]),
        ("INT64", [2], [1, True]),
        ("INT8", [1], [300]),
        ("UINT8", [1], [-1]),
        ("FP32", [1], [1e39]),
        ("FP32", [2], [1.0, None]),
        ("FP32", [2], ["1.0", "2.0"]),
        ("BOOL", [2], [0, 1]),
        ("BYTES", [1], [1]),
        ("BYTES", [1], ["\ud800"]),
        ("FP16", [1], [1.0]),
        ("INT64", [2, 2], [[1, 2], [3]]),
        ("INT64", [2, 3], [[1, 2], [3, 4], [5, 6]]),
        ("INT64", [3], [1, 2]),
        ("INT64", [1], 1),
        ("INT64", [1], {"0": 1}),
        ("INT64", [2, -1], [1, 2]),
        ("INT128", [1], [1]),
    ],
)
def test_data_that_is_not_the_declared_tensor_is_refused(datatype, shape, values):
    with pytest.raises(InvalidRequest, match="input 'x'"):
        decode_json("x", datatype, shape, values)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_json_never_carries_what_is_no_number(value):
    with pytest.raises(InvalidRequest, match="binary_data"):
        encode_json("x", "FP32", np.array([value], np.float32))


def test_json_never_carries_bytes_that_are_no_text():
    with pytest.raises(InvalidRequest, match="UTF-8"):
        encode_json("x", "BYTES", np.array([b"\xff"], dtype=object))


def test_a_huge_shape_is_refused_before_anything_is_allocated():
    with pytest.raises(InvalidRequest):
        decode_binary("x", "FP32", [2**62, 4], b"")
    with pytest.raises(InvalidRequest, match="too few"):
        decode_binary("x", "BYTES", [2**30], b"\0" * 16)
