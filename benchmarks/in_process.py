"""The ceiling: what one core answers when nothing is in the way of prepare, run and interpret."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec
from numpy.typing import NDArray

from benchmarks.traces import Request
from server.contract.attention import encode_array
from server.contract.bundle import Bundle
from server.contract.tensors import join, sizes_of, split
from server.runtime.session import open_session
from server.tasks import TASKS, Prepared
from server.tasks.base import SingleRunTask


class InProcess:
    """A model without a server: the steps of its executor and its task, called one after the other."""

    def __init__(self, bundle: Bundle, requests: Sequence[Request]) -> None:
        self._bundle = bundle
        self._signature = bundle.manifest.signature
        self._session = open_session(bundle, device="cpu")
        self._task = cast(SingleRunTask, TASKS[bundle.manifest.task]())
        self._decode = msgspec.json.Decoder(self._task.Request).decode
        self._encode = msgspec.json.Encoder(enc_hook=encode_array).encode
        self._bodies = [json.dumps(request).encode() for request in requests]
        self._requests = [self._decode(body) for body in self._bodies]
        self._prepared = [self._task.prepare(request, bundle) for request in self._requests]

    def run_rate(self, batch_size: int, seconds: float) -> float:
        """Return the requests a second of the graph alone, on batches already joined."""
        parts = [
            join(self._signature.inputs, [prepared.arrays for prepared in part])
            for part in _parts(self._prepared, batch_size)
        ]
        return _rate(
            parts, lambda part: self._session.run(part, self._prepared[0].outputs), batch_size, seconds
        )

    def answer_rate(self, batch_size: int, seconds: float) -> float:
        """Return the requests a second of prepare, run and interpret: the ceiling."""
        return _rate(_parts(self._requests, batch_size), self.answer, batch_size, seconds)

    def json_rate(self, batch_size: int, seconds: float) -> float:
        """Return the requests a second from body bytes to body bytes: the ceiling with JSON on both sides."""
        return _rate(_parts(self._bodies, batch_size), self.answer_bodies, batch_size, seconds)

    def answers(self) -> list[Any]:
        """Answer every request, all as one batch."""
        return self.answer(self._requests)

    def answer(self, requests: Sequence[Any]) -> list[Any]:
        """Answer a batch as the server does: prepare, join, run, split, interpret."""
        prepared = [self._task.prepare(request, self._bundle) for request in requests]
        return [
            self._task.interpret(own, one, self._bundle)
            for own, one in zip(self._run(prepared), prepared, strict=True)
        ]

    def _run(self, prepared: Sequence[Prepared]) -> list[dict[str, Any]]:
        specs = self._signature
        arrays = [one.arrays for one in prepared]
        sizes = [sizes_of(specs.inputs, one) for one in arrays]
        outputs = self._session.run(join(specs.inputs, arrays), prepared[0].outputs)
        return list(split(specs.outputs, outputs, sizes))

    def answer_bodies(self, bodies: Sequence[bytes]) -> list[bytes]:
        """Answer bodies as one batch."""
        return [self._encode(answer) for answer in self.answer([self._decode(body) for body in bodies])]

    def answer_objects(self, objects: Sequence[Any]) -> list[dict[str, Any]]:
        """Answer decoded JSON as one batch, for a server that encodes by itself."""
        requests = [msgspec.convert(one, self._task.Request) for one in objects]
        return [msgspec.to_builtins(answer, enc_hook=_as_list) for answer in self.answer(requests)]


def _as_list(array: NDArray[Any]) -> list[Any]:
    told: list[Any] = array.tolist()
    return told


def _parts(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [items[first : first + size] for first in range(0, len(items) - size + 1, size)]


def _rate(parts: Sequence[Any], work: Callable[[Any], object], size: int, seconds: float) -> float:
    """Work through ``parts`` over and over for a while; return the items done a second."""
    work(parts[0])
    done, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        work(parts[done % len(parts)])
        done += 1
    return done * size / elapsed
