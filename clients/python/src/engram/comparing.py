"""Comparing: one request, and what several models answer to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from engram.calls import Call, PictureFormat, Reply, encode, picture_call
from engram.completing import Completion
from engram.computing import ComputeAnswer
from engram.pointing import PointAnswer
from engram.reading import ReadAnswer
from engram.results import Answer, ItemError, Payload
from engram.translating import Translation, read_translations

PATH = "/v1/compare"

Compared: TypeAlias = (
    Answer | ReadAnswer | Completion | PointAnswer | ComputeAnswer | Translation | ItemError | Payload
)
"""What a model answered: the task's own answer, its payload where that is all there is, or an error."""


def _translation(payload: Payload, request_id: str | None) -> Translation | ItemError | Payload:
    found = read_translations(payload, request_id)
    return found[0] if len(found) == 1 else payload


def _payload(payload: Payload, _: str | None) -> Payload:
    return payload


READERS: Mapping[str, Callable[[Payload, str | None], Compared]] = {
    "qa": Answer.from_payload,
    "read": ReadAnswer.from_payload,
    "complete": Completion.from_payload,
    "point": PointAnswer.from_payload,
    "compute": ComputeAnswer.from_payload,
    "translate": _translation,
}


@dataclass(frozen=True)
class Comparison:
    """The answers of several models to one request.

    Attributes:
        task: What they did.
        results: What each answered, by its name as it was asked for, in order. Several texts to be translated
            are left as the payload that the server sent.
        request_id: What to look for in the server's log.
        raw: The payload as the server sent it.
    """

    task: str
    results: Mapping[str, Compared]
    request_id: str | None
    raw: Payload = field(repr=False, compare=False)

    def __getitem__(self, model: str) -> Compared:
        """Return what a model answered."""
        return self.results[model]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the models."""
        return iter(self.results)

    def __str__(self) -> str:
        return "\n".join(f"{name}: {result}" for name, result in self.results.items())


def compare(task: str, request: Mapping[str, Any], models: Sequence[str] | None) -> Call[Comparison]:
    """Ask several models the same."""
    return Call("POST", PATH, partial(_read, task=task), encode(_body(task, request, models)))


def compare_picture(
    task: str, request: Mapping[str, Any], models: Sequence[str] | None, picture_format: PictureFormat
) -> Call[bytes]:
    """Ask several models the same and have what they looked at drawn, one below the other."""
    return picture_call(PATH, _body(task, request, models), picture_format)


def _body(task: str, request: Mapping[str, Any], models: Sequence[str] | None) -> dict[str, Any]:
    if isinstance(models, str):
        raise TypeError(f"models is the text {models!r}, expected a list of names")
    asked = {name: value for name, value in request.items() if value is not None}
    body: dict[str, Any] = {"task": task, "request": asked}
    return body if models is None else {**body, "models": list(models)}


def _read(reply: Reply, task: str) -> Comparison:
    payload = reply.json()
    reader = READERS.get(task, _payload)
    results = {
        name: ItemError.from_payload(result["error"], index, reply.request_id)
        if "error" in result
        else reader(result, reply.request_id)
        for index, (name, result) in enumerate(zip(payload["models"], payload["results"], strict=True))
    }
    return Comparison(payload["task"], results, reply.request_id, payload)
