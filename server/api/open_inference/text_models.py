"""Tasks by words: BYTES in and out, so that a client of the protocol needs no tokenizer.

``TEXT_FORMS`` lists them by task; a task without a line here is served by its tensors only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

import numpy as np

from server.api.open_inference.messages import Parameters, priority_of
from server.api.open_inference.reading_text import ReadingText
from server.api.open_inference.texts import request_of, text_of, warnings_of
from server.contract.manifest import Manifest
from server.contract.tensors import Array
from server.errors import InputTooLong, InvalidRequest
from server.runtime.executor import Run
from server.runtime.loaded_model import LoadedModel
from server.runtime.rows import together
from server.tasks.question_answering import QaAnswer, QaRequest

About = tuple[str, str, tuple[int, ...]]
"""Name, datatype and shape of an input or output, batch axis first."""


class TextForm(Protocol):
    """How a task is asked and answered in tensors of text."""

    inputs: Sequence[About]
    outputs: Sequence[About]

    def __init__(self, manifest: Manifest) -> None:
        """Take the model's manifest."""
        ...

    async def infer(
        self,
        loaded: LoadedModel,
        arrays: Mapping[str, Array],
        wanted: Sequence[str],
        parameters: Parameters,
        deadline: float,
    ) -> tuple[Mapping[str, Array], Parameters]:
        """Answer every row and return the wanted outputs, and warnings as a parameter."""
        ...


class QuestionAnsweringText:
    """``story`` [facts] or [batch, facts] and ``question`` to ``answer``, ``score`` and ``attention``.

    ``answer`` and ``score`` have the shape of ``question``: one entry for each story. Stories of a batch are
    made equally long by empty facts at their ends, which receive no attention. The request parameters
    ``truncate`` and ``unknown_words`` mean what they mean in ``POST /v1/qa``.
    """

    OPTIONS: ClassVar = ("truncate", "unknown_words")

    def __init__(self, manifest: Manifest) -> None:
        attention = next(
            spec for spec in manifest.signature.outputs if spec.name == manifest.signature.attention.output
        )
        hops = attention.dims[1] if isinstance(attention.dims[1], int) else -1
        self._hops = hops
        self.inputs: Sequence[About] = [("story", "BYTES", (-1, -1)), ("question", "BYTES", (-1, 1))]
        self.outputs: Sequence[About] = [
            ("answer", "BYTES", (-1, 1)),
            ("score", "FP32", (-1, 1)),
            ("attention", "FP32", (-1, hops, -1)),
        ]

    async def infer(
        self,
        loaded: LoadedModel,
        arrays: Mapping[str, Array],
        wanted: Sequence[str],
        parameters: Parameters,
        deadline: float,
    ) -> tuple[Mapping[str, Array], Parameters]:
        """Answer every story."""
        stories, questions = _stories_and_questions(arrays, loaded.options.max_batch_size)
        options = {name: parameters[name] for name in self.OPTIONS if name in parameters}
        options["attention"] = "full" if "attention" in wanted else "none"
        requests = [
            request_of(QaRequest, {"story": story, "question": question}, options)
            for story, question in zip(stories, questions, strict=True)
        ]
        priority = priority_of(parameters)
        answered = await together(loaded.answer(request, deadline, priority) for request in requests)
        outputs = _outputs(answered, arrays["story"].shape, arrays["question"].shape, "attention" in wanted)
        return {name: outputs[name] for name in wanted}, warnings_of([answer for answer, _ in answered])


def _stories_and_questions(arrays: Mapping[str, Array], most: int) -> tuple[list[list[str]], list[str]]:
    story, question = arrays["story"], arrays["question"]
    if story.ndim not in (1, 2):
        raise InvalidRequest(
            f"input 'story' has {story.ndim} axes, expected [facts] or [batch, facts]", fields=["story"]
        )
    rows = story[None] if story.ndim == 1 else story
    shapes = ((), (1,)) if story.ndim == 1 else ((len(rows),), (len(rows), 1))
    if question.shape not in shapes:
        raise InvalidRequest(
            f"input 'question' has the shape {list(question.shape)}, expected one question for each of "
            f"{len(rows)} stories",
            fields=["question"],
        )
    if len(rows) > most:
        raise InputTooLong(
            f"the request has {len(rows)} stories, this model takes {most} (ENGRAM_MAX_BATCH_SIZE)",
            fields=["story"],
        )
    if not len(rows):
        raise InvalidRequest("the request has no story", fields=["story"])
    return [_facts(row) for row in rows], [text_of(item, "question") for item in question.ravel().tolist()]


def _facts(row: Array) -> list[str]:
    """Return a story's facts; empty ones at its end are padding."""
    facts = [text_of(item, f"story[{place}]") for place, item in enumerate(row.tolist())]
    while facts and not facts[-1]:
        facts.pop()
    return facts


def _outputs(
    answered: Sequence[tuple[QaAnswer, Run]], story: tuple[int, ...], question: tuple[int, ...], gates: bool
) -> dict[str, Array]:
    shape = question or (1,)
    texts = np.empty(len(answered), dtype=object)
    texts[:] = [answer.answer.encode() for answer, _ in answered]
    scores = np.array([answer.score for answer, _ in answered], dtype=np.float32)
    outputs: dict[str, Array] = {"answer": texts.reshape(shape), "score": scores.reshape(shape)}
    if gates:
        attention = np.stack([_attention(answer, run, story[-1]) for answer, run in answered])
        outputs["attention"] = attention if len(story) == 2 else attention[0]
    return outputs


def _attention(answer: QaAnswer, run: Run, facts: int) -> Array:
    """Return ``[hops, facts]`` over all facts that came; those the model did not read have weight 0."""
    gates_KF = run.outputs["attention"]
    offset = answer.attention.offset if answer.attention is not None else 0
    weights = np.zeros((len(gates_KF), facts), dtype=np.float32)
    weights[:, offset : offset + gates_KF.shape[1]] = gates_KF
    return weights


TEXT_FORMS: dict[str, type[TextForm]] = {"qa": QuestionAnsweringText, "read": ReadingText}
