"""What every form of tensors of text shares: bytes to words, options to requests, warnings to a parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from server.api.open_inference.messages import Parameters
from server.errors import InvalidRequest

Request = TypeVar("Request", bound=msgspec.Struct)


class Warned(Protocol):
    """An answer that carries warnings."""

    @property
    def warnings(self) -> Sequence[str]:
        """What was changed or noticed."""
        ...


def text_of(item: bytes, field: str) -> str:
    """Decode one string.

    Raises:
        InvalidRequest: it is not UTF-8.
    """
    try:
        return item.decode()
    except UnicodeDecodeError:
        raise InvalidRequest(f"{field} is not UTF-8", fields=[field]) from None


def request_of(kind: type[Request], fields: Mapping[str, Any], options: Mapping[str, object]) -> Request:
    """Make a task's request of its fields and of request parameters.

    Raises:
        InvalidRequest: a parameter has a value it cannot have.
    """
    try:
        return msgspec.convert({**fields, **options}, kind)
    except msgspec.ValidationError as error:
        text = str(error).replace("`", "").replace("$.", "parameter ")
        raise InvalidRequest(text, fields=list(options)) from None


def warnings_of(answers: Sequence[Warned]) -> Parameters:
    """Join the warnings of all rows to one parameter, or to none."""
    rows = [(f"row {row}: " if len(answers) > 1 else "", answer) for row, answer in enumerate(answers)]
    text = "; ".join(row + warning for row, answer in rows for warning in answer.warnings)
    return {"warnings": text} if text else {}
