"""Attention as it leaves the server: one shape for every model, padding never in it.

A task hands its attention output, cut to the request's own size, to ``attend`` and gets the payload.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from server.contract.manifest import AttentionSpec
from server.contract.tensors import Array

Form = Literal["full", "top", "none"]
"""What a request may ask for: every weight, the largest of each row, or no attention at all."""

Weights = Annotated[
    Any,
    msgspec.Meta(
        description="Nested lists, one level for each axis; with `top` the last is `[[index, weight], ...]`.",
        extra_json_schema={"type": "array", "items": {}},
    ),
]
"""A float32 array (form ``full``) or nested lists (form ``top``); ``encode_array`` writes the former."""


class Axis(msgspec.Struct, frozen=True):
    """One axis of the weights and a label for each of its entries."""

    name: str
    labels: Sequence[str]


class Attention(msgspec.Struct, frozen=True, eq=False):
    """Where the model looked.

    ``normalized_over`` names the axis whose entries sum to 1. ``offset`` counts the entries of the last axis
    that were cut off before the first label.
    """

    kind: str
    normalized_over: str | None
    axes: Sequence[Axis]
    weights: Weights
    offset: int = 0


def attend(
    spec: AttentionSpec,
    weights: Array,
    labels: Mapping[str, Sequence[str]],
    *,
    form: Form,
    top_k: int,
    offset: int = 0,
) -> Attention:
    """Make the payload from an attention output.

    Args:
        spec: what the output means.
        weights: float32, one axis per name in ``spec.axes``, without batch and padding.
        labels: for each axis as many labels as it has entries.
        form: ``full``, or ``top`` for the ``top_k`` largest weights of each row as ``[index, weight]``.
        top_k: how many weights a row keeps in the form ``top``.
        offset: entries of the last axis that were cut off before the first.
    """
    axes = [Axis(name, labels[name]) for name in spec.axes]
    rows: Any = np.ascontiguousarray(weights) if form == "full" else _top(weights, top_k)
    return Attention(spec.kind, spec.normalized_over, axes, rows, offset)


def largest(values: NDArray[Any], k: int) -> list[int]:
    """Return the places of the ``k`` largest of a row, the largest first, equal ones in order."""
    places: list[int] = (-values).argsort(kind="stable")[:k].tolist()
    return places


def floats(values: Array) -> Any:
    """Turn a float32 array into (nested lists of) Python floats that print as short as the float32 does."""
    return orjson.loads(orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY))


def encode_array(value: Any) -> msgspec.Raw:
    """Encode an array, as msgspec's ``enc_hook``: each float32 as the shortest decimal that gives it back."""
    if not isinstance(value, np.ndarray):
        raise NotImplementedError(f"cannot encode {type(value).__name__}")
    return msgspec.Raw(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY))


def _top(weights: Array, k: int) -> list[Any]:
    if weights.ndim > 1:
        return [_top(row, k) for row in weights]
    places = largest(weights, k)
    return [[place, weight] for place, weight in zip(places, floats(weights[places]), strict=True)]
