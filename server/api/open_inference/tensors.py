"""Tensor data on the wire: raw little-endian bytes or JSON lists, for every datatype of the protocol.

BF16, which numpy lacks, is held as float32; BYTES as an object array of ``bytes``. Nothing is allocated
before the declared shape is known to agree with the bytes that are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import prod
from struct import Struct
from typing import Any

import msgspec
import numpy as np
import orjson

from server.contract.tensors import Array
from server.errors import InputTooLong, InvalidRequest
from server.settings import variable

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BF16": np.dtype("<f4"),
    "BYTES": np.dtype(object),
}
"""Datatype to what it is held as."""

BINARY_ONLY = ("FP16", "BF16")
"""Datatypes that the protocol has no JSON form for."""

MAX_AXES = 16
MAX_ELEMENTS = 2**31 - 1

_LENGTH = Struct("<I")
_JSON_KINDS: dict[str, Any] = {"b": bool, "u": int, "i": int, "f": float, "O": str}


def check_shape(name: str, datatype: str, shape: Sequence[int]) -> int:
    """Return the number of elements a tensor declares.

    Raises:
        InvalidRequest: there is no such datatype or the shape is impossible.
    """
    if datatype not in DTYPES:
        raise _wrong(name, f"there is no datatype {datatype[:40]!r}, there are {', '.join(DTYPES)}")
    if len(shape) > MAX_AXES:
        raise _wrong(name, f"has {len(shape)} axes, at most {MAX_AXES} are possible")
    if any(size < 0 for size in shape) or prod(max(size, 1) for size in shape) > MAX_ELEMENTS:
        raise _wrong(name, "has a shape that no tensor can have")
    return prod(shape)


def check_elements(shapes: Iterable[Sequence[int]], most: int) -> None:
    """Make sure that the inputs of one request declare at most ``most`` elements together.

    Raises:
        InputTooLong: they declare more.
    """
    # The product of a million sizes takes minutes; a shape with more axes is refused when its tensor is read.
    count = sum(abs(prod(shape[:MAX_AXES])) for shape in shapes)
    if count > most:
        told = count if count <= MAX_ELEMENTS else f"more than {MAX_ELEMENTS}"  # it may have a million digits
        raise InputTooLong(
            f"the inputs have {told} elements together, this server takes {most} "
            f"({variable('max_tensor_elements')})",
            max_elements=most,
        )


def decode_binary(name: str, datatype: str, shape: Sequence[int], data: bytes | memoryview) -> Array:
    """Return the tensor whose elements are these bytes; where possible it shares them.

    Raises:
        InvalidRequest: the bytes are not exactly that tensor.
    """
    count = check_shape(name, datatype, shape)
    if datatype == "BYTES":
        return _decode_bytes(name, count, data).reshape(shape)
    expected = count * element_size(datatype)
    if len(data) != expected:
        raise _wrong(name, f"has {len(data)} bytes of data, {datatype} {list(shape)} has {expected}")
    if datatype == "BOOL":
        return np.frombuffer(data, np.uint8).astype(np.bool_).reshape(shape)
    if datatype == "BF16":
        bits = np.frombuffer(data, "<u2").astype("<u4") << 16
        return bits.view(np.float32).reshape(shape)
    return np.frombuffer(data, DTYPES[datatype]).reshape(shape)


def encode_binary(datatype: str, array: Array) -> bytes:
    """Return the elements of a tensor as bytes, row-major."""
    if datatype == "BYTES":
        return b"".join(part for item in _items(array) for part in (_LENGTH.pack(len(item)), item))
    if datatype == "BF16":
        bits = np.ascontiguousarray(array, "<f4").view("<u4")
        even = (bits >> 16) & 1  # ties go to the even neighbour
        rounded = np.where(np.isnan(array), bits | 0x10000, bits + 0x7FFF + even)
        return (rounded >> 16).astype("<u2").tobytes()
    return np.ascontiguousarray(array, DTYPES[datatype]).tobytes()


def decode_json(name: str, datatype: str, shape: Sequence[int], values: Any) -> Array:
    """Return the tensor of a JSON list, which is flat or nested like the shape.

    Raises:
        InvalidRequest: the list has other values or another size.
    """
    count = check_shape(name, datatype, shape)
    if datatype in BINARY_ONLY:
        raise _wrong(name, f"{datatype} has no JSON form, send it as binary data")
    depth = _depth(values)
    if depth not in (1, len(shape)):
        raise _wrong(name, f"data must be a flat list, or nested like the shape {list(shape)}")
    dtype = DTYPES[datatype]
    try:
        checked = msgspec.convert(values, _nested(_JSON_KINDS[dtype.kind], depth))
        array = _array(checked, dtype)
    except (ValueError, ArithmeticError) as error:
        why = f": {error}".replace("`", "") if isinstance(error, msgspec.ValidationError) else ""
        raise _wrong(name, f"data is not {datatype} {list(shape)}{why}") from None
    if array.size != count or (depth > 1 and array.shape != tuple(shape)):
        raise _wrong(name, f"data has {array.size} elements, expected {count} for the shape {list(shape)}")
    return array.reshape(shape)


def encode_json(name: str, datatype: str, array: Array) -> msgspec.Raw:
    """Return the elements of a tensor as one flat JSON list.

    Raises:
        InvalidRequest: JSON cannot carry them; as binary data they can be had.
    """
    if datatype == "BYTES":
        try:
            return msgspec.Raw(msgspec.json.encode([item.decode() for item in _items(array)]))
        except UnicodeDecodeError:
            raise _binary_only(name, "bytes that are not UTF-8") from None
    if datatype in BINARY_ONLY:
        raise _binary_only(name, datatype)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise _binary_only(name, "NaN or Infinity")
    flat = np.ascontiguousarray(array, DTYPES[datatype]).ravel()
    return msgspec.Raw(orjson.dumps(flat, option=orjson.OPT_SERIALIZE_NUMPY))


def element_size(datatype: str) -> int:
    """Return the bytes one element takes; BYTES elements take at least their length field."""
    return {"BF16": 2, "BYTES": _LENGTH.size}.get(datatype, DTYPES[datatype].itemsize)


def _decode_bytes(name: str, count: int, data: bytes | memoryview) -> Array:
    if count * _LENGTH.size > len(data):
        raise _wrong(name, f"has {len(data)} bytes of data, too few for {count} elements")
    items = np.empty(count, dtype=object)
    start = 0
    for place in range(count):
        at = start + _LENGTH.size
        end = at + _LENGTH.unpack_from(data, start)[0] if at <= len(data) else at
        if end > len(data):
            raise _wrong(name, f"element {place} is longer than the data")
        items[place] = bytes(data[at:end])
        start = end
    if start != len(data):
        raise _wrong(name, f"has {len(data) - start} bytes more than its {count} elements")
    return items


def _items(array: Array) -> list[bytes]:
    items: list[bytes] = array.ravel().tolist()
    return items


def _array(values: Any, dtype: np.dtype[Any]) -> Array:
    if dtype.kind == "O":
        texts = np.array(values, dtype=object)
        flat = np.empty(texts.size, dtype=object)
        flat[:] = [text.encode() for text in texts.flat]
        return flat.reshape(texts.shape)
    if dtype.kind != "f":
        return np.array(values, dtype=dtype)
    with np.errstate(over="raise"):
        return np.array(values, dtype=np.float64).astype(dtype)


def _depth(values: Any) -> int:
    depth = 0
    while isinstance(values, list) and depth <= MAX_AXES:
        depth += 1
        values = values[0] if values else None
    return depth


@lru_cache(maxsize=128)
def _nested(kind: Any, depth: int) -> Any:
    return list[_nested(kind, depth - 1)] if depth else kind  # type: ignore[misc]  # made at run time


def _binary_only(name: str, what: str) -> InvalidRequest:
    return _wrong(name, f"holds {what}, which JSON cannot carry: ask for it with binary_data", side="output")


def _wrong(name: str, why: str, side: str = "input") -> InvalidRequest:
    return InvalidRequest(f"{side} {name[:160]!r}: {why}", fields=[name[:160]])
