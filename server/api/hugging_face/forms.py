"""How tasks are asked and answered in Hugging Face's words; ``FORMS`` lists them by our task.

A form is pure: it turns a body into the task's request, and the task's answer into what the client parses.
The shapes are those of ``huggingface_hub.inference`` (``QuestionAnsweringInput`` and its output element); its
client keeps fields that it does not know, so attention travels beside them.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Protocol

import msgspec
import numpy as np

from server.api.hugging_face.spans import Span, find, sentences
from server.api.hugging_face.translation import TranslationForm
from server.contract.attention import Attention
from server.tasks.question_answering import QaAnswer, QaRequest
from server.tasks.reading import ReadAnswer, ReadRequest, ScoredCandidate


class Form(Protocol):
    """One task in Hugging Face's words. Of a body, fields that ``Body`` does not name are ignored."""

    Body: ClassVar[type[msgspec.Struct]]

    def request(self, body: Any) -> msgspec.Struct:
        """Return the task's request."""
        ...

    def respond(self, body: Any, answer: Any) -> Any:
        """Return what is sent: structs, or lists of them."""
        ...


class QuestionAndContext(msgspec.Struct, frozen=True):
    """A question and the text to answer it from."""

    question: str
    context: str


class QuestionAnsweringParameters(msgspec.Struct, frozen=True):
    """Of the parameters that Hugging Face has, the one that means something here."""

    top_k: Annotated[int, msgspec.Meta(ge=1, le=1000)] | None = None


class QuestionAnsweringInput(msgspec.Struct, frozen=True):
    """What ``InferenceClient.question_answering`` posts."""

    inputs: QuestionAndContext
    parameters: QuestionAnsweringParameters | None = None

    @property
    def top_k(self) -> int:
        """How many answers are wanted."""
        return (self.parameters.top_k if self.parameters else None) or 1


class QuestionAnsweringOutputElement(msgspec.Struct, frozen=True):
    """An answer, and the characters of the context that it stands on: its mention, or else the evidence."""

    answer: str
    score: float
    start: int
    end: int
    attention: Attention | None = None
    warnings: list[str] = msgspec.field(default_factory=list)


class QuestionAnsweringForm:
    """The task ``qa``: the context is cut into sentences, and ``start`` and ``end`` point back into it.

    Such clients send whole texts, so the oldest sentences are left out and unknown words mapped where that
    must be; ``warnings`` say so.
    """

    Body: ClassVar[type[msgspec.Struct]] = QuestionAnsweringInput

    def request(self, body: QuestionAnsweringInput) -> QaRequest:
        """Return the question about the context's sentences."""
        context = body.inputs.context
        story = [context[start:end] for start, end in sentences(context)]
        return QaRequest(
            story, body.inputs.question, top_k=body.top_k, truncate="oldest", unknown_words="map"
        )

    def respond(
        self, body: QuestionAnsweringInput, answer: QaAnswer
    ) -> QuestionAnsweringOutputElement | list[QuestionAnsweringOutputElement]:
        """Return the answer, or a list of them where more than one is asked for."""
        context = body.inputs.context
        spans = sentences(context)
        evidence = [spans[fact.index] for fact in answer.evidence]
        elements = [
            QuestionAnsweringOutputElement(each.answer, each.score, *find(each.answer, context, evidence))
            for each in answer.alternatives
        ]
        best = msgspec.structs.replace(elements[0], attention=answer.attention, warnings=answer.warnings)
        return best if body.top_k == 1 else [best, *elements[1:]]


class ReadingForm:
    """The task ``read`` in the same form: the answer is a word of the context, where most attention fell."""

    Body: ClassVar[type[msgspec.Struct]] = QuestionAnsweringInput

    def request(self, body: QuestionAnsweringInput) -> ReadRequest:
        """Return the question about the whole context."""
        return ReadRequest(body.inputs.context, body.inputs.question, top_k=body.top_k)

    def respond(
        self, body: QuestionAnsweringInput, answer: ReadAnswer
    ) -> QuestionAnsweringOutputElement | list[QuestionAnsweringOutputElement]:
        """Return the answer, or a list of candidates where more than one is asked for."""
        elements = [
            QuestionAnsweringOutputElement(each.text, each.score, *_strongest(each, answer.attention))
            for each in answer.candidates[: body.top_k]
        ]
        best = msgspec.structs.replace(elements[0], attention=answer.attention, warnings=answer.warnings)
        return best if body.top_k == 1 else [best, *elements[1:]]


def _strongest(candidate: ScoredCandidate, attention: Attention | None) -> Span:
    """Return the mention with the largest weight, or the first where the weights are not all there."""
    mentions = candidate.positions
    if not mentions:
        return (0, 0)
    if attention is not None and isinstance(attention.weights, np.ndarray):
        weights = attention.weights[0]
        mentions = sorted(mentions, key=lambda mention: -weights[mention.token])
    return mentions[0].start, mentions[0].end


FORMS: dict[str, Form] = {
    "qa": QuestionAnsweringForm(),
    "read": ReadingForm(),
    "translate": TranslationForm(),
}
