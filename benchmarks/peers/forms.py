"""How each server is asked and what it answers: our sentences, plain JSON tensors, or the V2 protocol."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.traces import Request
from server.contract.bundle import Bundle
from server.contract.tensors import Array
from server.tasks import TASKS

Found = tuple[int, NDArray[Any]]
"""The number of the answer and the attention ``[hops, facts]``."""


@dataclass(frozen=True)
class Question:
    """A request as sentences and as prepared tensors: ``[facts, words]`` and ``[question_words]``."""

    sentences: Request
    story_tokens: Array
    question_tokens: Array


@dataclass(frozen=True)
class Form:
    """A way to ask: from a question to a body, and from the body of the answer to what was found."""

    ask: Callable[[Question], Any]
    read: Callable[[Any], Found]

    def body(self, question: Question) -> bytes:
        """Return the body of a request."""
        return json.dumps(self.ask(question)).encode()

    def found(self, body: bytes) -> Found:
        """Return what an answer says."""
        return self.read(json.loads(body))


def prepare(requests: Sequence[Request], bundle: Bundle) -> list[Question]:
    """Prepare a trace for servers that take tensors: words padded to the trace's widest, facts kept."""
    task = TASKS[bundle.manifest.task]()
    arrays = [task.prepare(task.Request(**request), bundle).arrays for request in requests]
    stories = [one["story_tokens"] for one in arrays]
    questions = [one["question_tokens"] for one in arrays]
    words = max(story.shape[1] for story in stories)
    question_words = max(len(question) for question in questions)
    return [
        Question(
            request,
            np.pad(story, ((0, 0), (0, words - story.shape[1]))),
            np.pad(question, (0, question_words - len(question))),
        )
        for request, story, question in zip(requests, stories, questions, strict=True)
    ]


def sentences(answers: Sequence[str]) -> Form:
    """Return our own form; ``answers`` are the model's, in the order of the graph's output."""
    numbers = {answer: number for number, answer in enumerate(answers)}
    return Form(
        lambda question: question.sentences,
        lambda told: (numbers[told["answer"]], np.array(told["attention"]["weights"])),
    )


def _tensors(question: Question) -> dict[str, Any]:
    return {
        "story_tokens": question.story_tokens.tolist(),
        "question_tokens": question.question_tokens.tolist(),
    }


def _v2(question: Question) -> dict[str, Any]:
    arrays = {"story_tokens": question.story_tokens, "question_tokens": question.question_tokens}
    return {
        "inputs": [
            {"name": name, "datatype": "INT64", "shape": [1, *array.shape], "data": array.ravel().tolist()}
            for name, array in arrays.items()
        ]
    }


def _read_v2(told: dict[str, Any]) -> Found:
    outputs = {
        output["name"]: np.array(output["data"]).reshape(output["shape"]) for output in told["outputs"]
    }
    return int(outputs["answer"][0, 0]), outputs["attention"][0]


PLAIN = Form(_tensors, lambda told: (told["answer"], np.array(told["attention"])))
ITEMS = Form(
    lambda question: {"items": [_tensors(question)]},
    lambda told: (told[0]["answer"], np.array(told[0]["attention"])),
)
V2 = Form(_v2, _read_v2)
