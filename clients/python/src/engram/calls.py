"""What is asked, and how its answer is read: one ``Call`` per endpoint, made by pure functions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Literal, Required, TypedDict, TypeVar, cast
from urllib.parse import quote

from engram.results import Answer, ItemError, Model, Payload
from engram.uploads import Upload

T = TypeVar("T")
PictureFormat = Literal["svg", "png"]
PICTURE_TYPES: Mapping[PictureFormat, str] = {"svg": "image/svg+xml", "png": "image/png"}


class QaOptions(TypedDict, total=False):
    """What a question may say beside the story; what is left out takes the server's default.

    Attributes:
        model: ``"name"`` or ``"name:version"`` instead of the default model.
        top_k: How many alternatives to list, the answer included.
        truncate: ``"oldest"`` drops the first sentences of a story that is too long; ``"none"`` refuses it.
        attention: ``"full"`` gates, the ``"top"`` ones of each hop, or ``"none"``.
        attention_top_k: How many sentences ``evidence``, and a hop of ``"top"``, lists.
        unknown_words: ``"map"`` answers in spite of words the model has never seen; ``"error"`` refuses.
    """

    model: str | None
    top_k: int
    truncate: Literal["none", "oldest"]
    attention: Literal["full", "top", "none"]
    attention_top_k: int
    unknown_words: Literal["error", "map"]


class QaRequest(QaOptions, total=False):
    """One item of ``ask_many``: a story (sentences, or one text to be split), a question, and options."""

    story: Required[str | Sequence[str]]
    question: Required[str]


@dataclass(frozen=True)
class Reply:
    """An HTTP answer, whole. ``headers`` ignores case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def request_id(self) -> str | None:
        """The id under which the server logged the request."""
        return self.headers.get("x-request-id")

    def json(self) -> Any:
        """Decode the body; a ValueError if it is not JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request, and the function that reads a successful answer to it.

    ``upload`` is a body that is sent as it is read, instead of ``body``. ``parse`` may raise KeyError,
    TypeError or ValueError for a body that is not the contract's.
    """

    method: Literal["GET", "POST", "DELETE"]
    path: str
    parse: Callable[[Reply], T]
    body: bytes | None = None
    accept: str = "application/json"
    upload: Upload | None = None


def ask(request: QaRequest) -> Call[Answer]:
    """Ask one question."""
    return Call("POST", "/v1/qa", _read_answer, encode(_checked(request)))


def ask_batch(requests: Sequence[QaRequest], first_index: int) -> Call[list[Answer | ItemError]]:
    """Ask questions together; ``first_index`` is the place of the first among all that are asked."""
    return batch_call("/v1/qa", [_checked(request) for request in requests], first_index, Answer.from_payload)


def picture(request: QaRequest, picture_format: PictureFormat) -> Call[bytes]:
    """Ask one question and have the attention drawn."""
    return picture_call("/v1/qa", _checked(request), picture_format)


def models() -> Call[list[Model]]:
    """List the models."""
    return Call("GET", "/v1/models", _read_models)


def model(name: str) -> Call[Model]:
    """Describe one model."""
    return Call("GET", f"/v1/models/{quote(name, safe='')}", _read_model)


def vocabulary(name: str) -> Call[list[str]]:
    """List the words a model knows."""
    return Call("GET", f"/v1/models/{quote(name, safe='')}/vocabulary", _read_words)


def health(kind: Literal["live", "ready"]) -> Call[bool]:
    """Ask whether the server runs, or answers."""
    return Call("GET", f"/health/{kind}", lambda reply: True)


def _checked(request: QaRequest) -> dict[str, Any]:
    body = checked_options(request, QaRequest)
    story = request["story"]
    return {**body, "story": story if isinstance(story, str) else list(story)}


def checked_options(request: Mapping[str, Any], form: type) -> dict[str, Any]:
    """Return the request's JSON; a misspelt option is a TypeError here, before anything is sent."""
    unknown = request.keys() - form.__annotations__.keys()
    if unknown:
        expected = ", ".join(form.__annotations__)
        raise TypeError(f"unknown option {', '.join(map(repr, sorted(unknown)))}; expected {expected}")
    return {name: value for name, value in request.items() if value is not None}


def batch_call(
    path: str,
    bodies: Sequence[Mapping[str, Any]],
    first_index: int,
    read: Callable[[Payload, str | None], T],
) -> Call[list[T | ItemError]]:
    """Ask a task's endpoint for many answers at once.

    Args:
        path: The endpoint of a single request.
        bodies: The requests, as they are sent.
        first_index: The place of the first among all that are asked.
        read: Reads one answer, given the id of the HTTP request.
    """
    parse = partial(_read_batch, count=len(bodies), first_index=first_index, read=read)
    return Call("POST", f"{path}/batch", parse, encode({"requests": list(bodies)}))


def picture_call(path: str, body: Mapping[str, Any], picture_format: PictureFormat) -> Call[bytes]:
    """Ask a task's endpoint for its answer as a picture.

    Raises:
        ValueError: There is no such format.
    """
    if picture_format not in PICTURE_TYPES:
        raise ValueError(f"format is {picture_format!r}, expected one of {', '.join(PICTURE_TYPES)}")
    media_type = PICTURE_TYPES[picture_format]
    return Call("POST", path, partial(_read_bytes, media_type), encode(body), media_type)


def encode(body: Mapping[str, Any]) -> bytes:
    """Write a body.

    Raises:
        ValueError: It has a number or a text that JSON in UTF-8 does not have.
    """
    return json.dumps(body, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()


def _read_answer(reply: Reply) -> Answer:
    return Answer.from_payload(reply.json(), reply.request_id)


def _read_batch(
    reply: Reply, count: int, first_index: int, read: Callable[[Payload, str | None], T]
) -> list[T | ItemError]:
    results = reply.json()["results"]
    if len(results) != count:
        raise ValueError(f"{len(results)} results for {count} requests")
    return [
        ItemError.from_payload(item["error"], index, reply.request_id)
        if "error" in item
        else read(item, reply.request_id)
        for index, item in enumerate(results, start=first_index)
    ]


def _read_bytes(media_type: str, reply: Reply) -> bytes:
    came = reply.headers.get("content-type", "")
    if not came.startswith(media_type):
        raise ValueError(f"content type {came!r} instead of {media_type!r}")
    return reply.body


def _read_models(reply: Reply) -> list[Model]:
    return [Model.from_payload(item) for item in reply.json()["models"]]


def _read_model(reply: Reply) -> Model:
    return Model.from_payload(reply.json())


def _read_words(reply: Reply) -> list[str]:
    return cast(list[str], list(reply.json()["words"]))
