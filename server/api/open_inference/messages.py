"""An inference request and its answer, free of any wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from server.api.http_errors import Unsupported
from server.contract.tensors import Array
from server.errors import InvalidRequest
from server.runtime.lines import Priority

Parameter = bool | int | float | str
"""What a parameter's value can be; objects and lists cannot."""

Parameters = Mapping[str, Parameter]


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A named array and the datatype it has on the wire."""

    name: str
    datatype: str
    array: Array


@dataclass(frozen=True, slots=True)
class Wanted:
    """An output a client asks for; ``classes`` turns it into its largest entries, 0 leaves it as it is."""

    name: str
    classes: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class InferRequest:
    """What to run on what. Without ``outputs`` all are wanted; ``version`` may be empty, the newest."""

    model: str
    version: str
    inputs: Sequence[Tensor]
    outputs: Sequence[Wanted] = ()
    id: str = ""
    parameters: Parameters = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class InferResponse:
    """What came out; ``parameters`` holds what tensors cannot say, such as warnings."""

    model: str
    version: str
    outputs: Sequence[Tensor]
    id: str = ""
    parameters: Parameters = field(default_factory=dict)


def priority_of(parameters: Parameters) -> Priority:
    """Return how urgent the parameter ``priority`` makes a request.

    0 is the default, and 1 goes before 2. A number beyond the least urgent level means that level.
    """
    number = parameters.get("priority", 0)
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise InvalidRequest("the parameter priority must be a number from 0 on", fields=["priority"])
    return Priority(min(number, max(Priority))) if number else Priority.INTERACTIVE


def refuse_shared_memory(parameters: Parameters) -> None:
    """Raise Unsupported for a tensor that lies in shared memory."""
    if any(name.startswith("shared_memory") for name in parameters):
        raise Unsupported("tensors in shared memory are not supported, send their data")
