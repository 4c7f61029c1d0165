"""Computing with digits: operands in, digits out, with how much each cell of the memory was rewritten.

A model reads symbols in cells: 0 is nothing, ``1 + d`` the digit ``d``, ``base + 1`` the sign between two
operands, ``base + 2`` an empty cell to work in, and ``base + 3 + a * base + b`` the digits ``a`` over ``b``.
Numbers lie least significant digit first, both operands with the same number of digits: one over the other
to be added, as on paper, and one behind the other to be multiplied. Training and evaluation lay them out with
the same functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal, cast

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from server.contract.attention import Attention, Form, attend
from server.contract.bundle import Bundle
from server.contract.tensors import Array
from server.errors import BundleError, InputTooLong, InvalidRequest, RunError
from server.tasks.base import Prepared

Operation = Literal["add", "multiply", "sort", "reverse", "duplicate"]
Base = Literal[2, 10]

OPERANDS: Mapping[str, int] = {"add": 2, "multiply": 2, "sort": 1, "reverse": 1, "duplicate": 1}
"""How many operands an operation takes."""

SIGN = "*"
EMPTY = "·"
"""The label of a cell that holds nothing yet."""


class ComputeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An operation and its operands."""

    operation: Operation
    operands: Annotated[
        list[str],
        Meta(description="Strings of digits, most significant first: two numbers, or one sequence."),
    ]
    base: Annotated[Base, Meta(description="The digits are 0 and 1, or 0 to 9.")] = 2
    model: Annotated[
        str | None, Meta(description="`name` or `name:version`; without it the default model answers.")
    ] = None
    attention: Annotated[Form, Meta(description="Every weight, the largest of each step, or none.")] = "full"
    attention_top_k: Annotated[
        int, Meta(ge=1, le=1000, description="How many cells a step lists in the form `top`.")
    ] = 5
    timeout_ms: Annotated[float, Meta(gt=0, description="Answer within this time or not at all.")] | None = (
        None
    )


class ComputeAnswer(msgspec.Struct, frozen=True):
    """The result, and how the memory changed on the way.

    ``score`` is the probability that the model gives to all digits together, ``steps`` how many it took.
    """

    result: str
    score: float
    steps: int
    attention: Attention | None = None
    warnings: list[str] = msgspec.field(default_factory=list)


class _Context(msgspec.Struct, frozen=True):
    request: ComputeRequest
    symbols: NDArray[np.int64]
    digits: int


class Computing:
    """The task ``compute``: digits become symbols in cells, the symbols of the last memory become digits."""

    name: ClassVar[str] = "compute"
    Request: ClassVar[type[msgspec.Struct]] = ComputeRequest
    Answer: ClassVar[type[msgspec.Struct]] = ComputeAnswer

    def __init__(self, max_attention_weights: int = 100_000) -> None:
        self._max_attention_weights = max_attention_weights

    def selector(self, request: ComputeRequest) -> Mapping[str, str | int]:
        """Return operation and base: each has a default model of its own."""
        return {"operation": request.operation, "base": request.base}

    def check(self, bundle: Bundle) -> None:
        """Make sure of the selector, the limit, the tensors and the axes of the attention."""
        manifest = bundle.manifest
        operation, base = manifest.selector.get("operation"), manifest.selector.get("base")
        if operation not in OPERANDS or base not in (2, 10):
            raise BundleError("task compute needs an operation and a base (manifest: selector)")
        if manifest.limits.get("max_cells", 0) < 1:
            raise BundleError("task compute needs max_cells (manifest: limits)")
        dims = {spec.name: spec.dims for spec in (*manifest.signature.inputs, *manifest.signature.outputs)}
        expected = {
            "symbols": ("batch", "cells"),
            "probabilities": ("batch", "cells", alphabet(cast(Operation, operation), base)),
            "attention": ("batch", "cells", "cells"),
        }
        for name, axes in expected.items():
            if dims.get(name) != axes:
                raise BundleError(
                    f"task compute needs {name} {list(axes)}, the manifest has {dims.get(name)}"
                )
        attention = manifest.signature.attention
        if attention.output != "attention" or attention.axes != ("step", "cell"):
            raise BundleError("task compute needs the output attention with the axes step and cell")

    def prepare(self, request: ComputeRequest, bundle: Bundle) -> Prepared:
        """Make ``symbols [cells]``."""
        selector = bundle.manifest.selector
        for field in ("operation", "base"):
            if getattr(request, field) != selector[field]:
                raise InvalidRequest(
                    f"model {bundle.manifest.name} has {field} {selector[field]!r}, "
                    f"the request {getattr(request, field)!r}",
                    fields=[field],
                )
        _check_operands(request, bundle.manifest.limits["max_cells"])
        symbols = lay_out(request.operation, request.operands, request.base)
        digits = result_digits(request.operation, request.operands)
        outputs = ("probabilities", "attention") if request.attention != "none" else ("probabilities",)
        return Prepared({"symbols": symbols}, outputs, _Context(request, symbols, digits))

    def interpret(self, outputs: Mapping[str, Array], prepared: Prepared, bundle: Bundle) -> ComputeAnswer:
        """Read the digits out of the first cells of ``probabilities``."""
        context: _Context = prepared.context
        digits_DV = outputs["probabilities"][: context.digits, 1 : context.request.base + 1]
        if not np.isfinite(digits_DV).all():
            raise RunError("the graph returned something that is not a number")
        digits_D = digits_DV.argmax(axis=1)
        score = float(np.exp(np.log(np.maximum(digits_DV.max(axis=1), 1e-30)).sum()))
        warnings: list[str] = []
        return ComputeAnswer(
            result=read_digits(context.request.operation, digits_D),
            score=score,
            steps=len(context.symbols),
            attention=self._attention(outputs, context, bundle, warnings),
            warnings=warnings,
        )

    def _attention(
        self, outputs: Mapping[str, Array], context: _Context, bundle: Bundle, warnings: list[str]
    ) -> Attention | None:
        form = context.request.attention
        if form == "none":
            return None
        activity_SC = outputs["attention"]
        if form == "full" and activity_SC.size > self._max_attention_weights:
            form = "top"
            warnings.append(
                f"attention has {activity_SC.size} weights, an answer carries {self._max_attention_weights} "
                "(ENGRAM_MAX_ATTENTION_WEIGHTS): only the largest of each step are given"
            )
        cells = labels(context.request.base, context.symbols)
        steps = [str(step + 1) for step in range(len(activity_SC))]
        spec, top_k = bundle.manifest.signature.attention, context.request.attention_top_k
        return attend(spec, activity_SC, {"step": steps, "cell": cells}, form=form, top_k=top_k)


def alphabet(operation: Operation, base: int) -> int:
    """Return how many symbols a model of this operation knows."""
    return base + 3 + (base * base if operation == "add" else 0)


def lay_out(operation: Operation, operands: Sequence[str], base: int) -> NDArray[np.int64]:
    """Return the symbols of the cells.

    Args:
        operation: what to compute.
        operands: digits, most significant first; two operands get the same number of digits.
        base: 2 or 10.
    """
    if OPERANDS[operation] == 2:
        length = max(map(len, operands))
        first, second = (_digits(operand.zfill(length))[::-1] for operand in operands)
        if operation == "add":
            return np.concatenate((base + 3 + first * base + second, [base + 2]))
        return np.concatenate((first + 1, [base + 1], second + 1))
    symbols = _digits(operands[0]) + 1
    room = len(symbols) if operation == "duplicate" else 0
    return np.concatenate((symbols, np.full(room, base + 2, dtype=np.int64)))


def cells_for(operation: Operation, operands: Sequence[str]) -> int:
    """Return how many cells ``lay_out`` takes."""
    length = max(map(len, operands))
    return {"add": length + 1, "multiply": 2 * length + 1, "duplicate": 2 * length}.get(operation, length)


def result_digits(operation: Operation, operands: Sequence[str]) -> int:
    """Return how many cells the result takes, leading zeros of numbers included."""
    length = max(map(len, operands))
    return {"add": length + 1, "multiply": 2 * length, "duplicate": 2 * length}.get(operation, length)


def read_digits(operation: Operation, digits: Sequence[int] | NDArray[np.int64]) -> str:
    """Return a result as people write it: a number most significant digit first, without leading zeros."""
    text = "".join(map(str, digits))
    return (text[::-1].lstrip("0") or "0") if OPERANDS[operation] == 2 else text


def labels(base: int, symbols: NDArray[np.int64]) -> list[str]:
    """Return what stands in each cell at first, for people."""
    pairs = (f"{first}+{second}" for first in range(base) for second in range(base))
    names = ["", *map(str, range(base)), SIGN, EMPTY, *pairs]
    return [names[symbol] for symbol in symbols]


def _digits(text: str) -> NDArray[np.int64]:
    return np.frombuffer(text.encode("ascii"), dtype=np.uint8).astype(np.int64) - ord("0")


def _check_operands(request: ComputeRequest, limit: int) -> None:
    wanted = OPERANDS[request.operation]
    if len(request.operands) != wanted:
        raise InvalidRequest(
            f"operands has {len(request.operands)} entries, {request.operation} takes {wanted}",
            fields=["operands"],
        )
    if (needed := cells_for(request.operation, request.operands)) > limit:  # before anything looks at them
        raise InputTooLong(
            f"the operands need {needed} cells, this model takes {limit} (manifest: max_cells)",
            fields=["operands"],
            got=needed,
            limit=limit,
        )
    known = set("0123456789"[: request.base])
    for place, operand in enumerate(request.operands):
        if not operand or not known.issuperset(operand):
            raise InvalidRequest(
                f"operands[{place}] is not a string of digits 0 to {request.base - 1}",
                fields=[f"operands[{place}]"],
            )
