"""Readers by words: ``document`` and ``question`` to ``answer``, ``score`` and where the answer stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from server.api.open_inference.messages import Parameters, priority_of
from server.api.open_inference.texts import request_of, text_of, warnings_of
from server.contract.manifest import Manifest
from server.contract.tensors import Array
from server.errors import InputTooLong, InvalidRequest
from server.runtime.loaded_model import LoadedModel
from server.runtime.rows import together
from server.tasks.reading import ReadAnswer, ReadRequest

NOWHERE = (-1, -1)


class ReadingText:
    """``document`` and ``question`` of one shape, ``[1]`` or ``[batch, 1]``; every output has it too.

    ``start`` and ``end`` are the characters of the answer's first mention. The request parameter
    ``unknown_words`` means what it means in ``POST /v1/read``; any word of the document may be the answer.
    """

    OPTIONS: ClassVar = ("unknown_words",)

    def __init__(self, manifest: Manifest) -> None:
        shape = (-1, 1)
        self.inputs: Sequence[tuple[str, str, tuple[int, ...]]] = [
            ("document", "BYTES", shape),
            ("question", "BYTES", shape),
        ]
        self.outputs: Sequence[tuple[str, str, tuple[int, ...]]] = [
            ("answer", "BYTES", shape),
            ("score", "FP32", shape),
            ("start", "INT64", shape),
            ("end", "INT64", shape),
        ]

    async def infer(
        self,
        loaded: LoadedModel,
        arrays: Mapping[str, Array],
        wanted: Sequence[str],
        parameters: Parameters,
        deadline: float,
    ) -> tuple[Mapping[str, Array], Parameters]:
        """Answer every row."""
        documents, questions = arrays["document"], arrays["question"]
        _check(documents, questions, loaded.options.max_batch_size)
        options = {name: parameters[name] for name in self.OPTIONS if name in parameters}
        options |= {"attention": "none", "top_k": 1}
        requests = [
            request_of(
                ReadRequest,
                {"document": text_of(document, "document"), "question": text_of(question, "question")},
                options,
            )
            for document, question in zip(documents.ravel().tolist(), questions.ravel().tolist(), strict=True)
        ]
        priority = priority_of(parameters)
        answered = await together(loaded.answer(request, deadline, priority) for request in requests)
        answers: list[ReadAnswer] = [answer for answer, _ in answered]
        outputs = {name: array.reshape(documents.shape) for name, array in _outputs(answers).items()}
        return {name: outputs[name] for name in wanted}, warnings_of(answers)


def _check(documents: Array, questions: Array, most: int) -> None:
    shape = documents.shape
    if shape not in ((1,), (len(documents), 1)):
        raise InvalidRequest(
            f"input 'document' has the shape {list(shape)}, expected [1] or [batch, 1]", fields=["document"]
        )
    if questions.shape != shape:
        raise InvalidRequest(
            f"input 'question' has the shape {list(questions.shape)}, expected that of document, "
            f"{list(shape)}",
            fields=["question"],
        )
    if len(documents) > most:
        raise InputTooLong(
            f"the request has {len(documents)} documents, this model takes {most} (ENGRAM_MAX_BATCH_SIZE)",
            fields=["document"],
        )
    if not len(documents):
        raise InvalidRequest("the request has no document", fields=["document"])


def _outputs(answers: Sequence[ReadAnswer]) -> dict[str, Array]:
    texts = np.empty(len(answers), dtype=object)
    texts[:] = [answer.answer.encode() for answer in answers]
    first = [answer.candidates[0].positions[:1] for answer in answers]
    places = [(found[0].start, found[0].end) if found else NOWHERE for found in first]
    starts, ends = zip(*places, strict=True)
    return {
        "answer": texts,
        "score": np.array([answer.score for answer in answers], dtype=np.float32),
        "start": np.array(starts, dtype=np.int64),
        "end": np.array(ends, dtype=np.int64),
    }
