"""A reader by words: documents and questions as BYTES."""

from types import SimpleNamespace

import numpy as np
import pytest

from server.api.open_inference.reading_text import ReadingText
from server.api.open_inference.text_models import TEXT_FORMS
from server.errors import InputTooLong, InvalidRequest
from server.tasks.reading import Mention, ReadAnswer, ScoredCandidate

form = ReadingText(None)


class Loaded:
    """Answers with the document's first word, which stands at its beginning."""

    options = SimpleNamespace(max_batch_size=3)

    def __init__(self):
        self.requests = []

    async def answer(self, request, deadline, priority):
        self.requests.append(request)
        word = request.document.split()[0]
        found = ScoredCandidate(word, 0.5, [Mention(0, len(word), 0)])
        return ReadAnswer(word, 0.5, [found], None, [f"read {word}"]), None


def texts(*words, batch=True):
    array = np.array([word.encode() for word in words], dtype=object)
    return array[:, None] if batch else array


async def infer(documents, questions, wanted=("answer", "score", "start", "end"), **parameters):
    loaded = Loaded()
    arrays = {"document": documents, "question": questions}
    outputs, said = await form.infer(loaded, arrays, wanted, parameters, 1.0)
    return loaded, outputs, said


def test_readers_are_served_by_words():
    assert TEXT_FORMS["read"] is ReadingText


async def test_every_row_is_answered_with_its_place():
    loaded, outputs, said = await infer(texts("Ada sat.", "Zoé ran."), texts("Who?", "Who?"))
    assert outputs["answer"].tolist() == [[b"Ada"], ["Zoé".encode()]]
    assert outputs["score"].dtype == np.float32
    assert outputs["end"].tolist() == [[3], [3]]
    assert {output.shape for output in outputs.values()} == {(2, 1)}
    assert said == {"warnings": "row 0: read Ada; row 1: read Zoé"}
    assert [request.attention for request in loaded.requests] == ["none", "none"]


async def test_a_single_document_needs_no_batch_axis_and_only_what_is_wanted_is_returned():
    loaded, outputs, _ = await infer(
        texts("Ada sat.", batch=False),
        texts("Who?", batch=False),
        ("answer",),
        unknown_words="error",
    )
    assert outputs["answer"].tolist() == [b"Ada"]
    assert outputs.keys() == {"answer"}
    assert loaded.requests[0].unknown_words == "error"


@pytest.mark.parametrize(
    ("documents", "questions", "parameters", "error", "message"),
    [
        (texts("a", "b")[:, :, None], texts("q", "q"), {}, InvalidRequest, r"shape \[2, 1, 1\], expected"),
        (texts("a", "b"), texts("q"), {}, InvalidRequest, r"expected that of document, \[2, 1\]"),
        (texts(*"abcd"), texts(*"abcd"), {}, InputTooLong, "has 4 documents, this model takes 3"),
        (texts()[:, :], texts(), {}, InvalidRequest, "has no document"),
        (texts("a"), texts("q"), {"unknown_words": "guess"}, InvalidRequest, "parameter unknown_words"),
        (np.array([[b"\xff"]], dtype=object), texts("q"), {}, InvalidRequest, "document is not UTF-8"),
    ],
    ids=["too many axes", "fewer questions", "too many", "none", "unknown option", "no text"],
)
async def test_what_cannot_be_read_is_refused(documents, questions, parameters, error, message):
    with pytest.raises(error, match=message):
        await infer(documents, questions, **parameters)
