"""Answers put in Hugging Face's words, without a model behind them."""

import numpy as np

from server.api.hugging_face.forms import (
    QuestionAndContext,
    QuestionAnsweringForm,
    QuestionAnsweringInput,
    QuestionAnsweringParameters,
    ReadingForm,
)
from server.contract.attention import Attention, Axis
from server.tasks.question_answering import Evidence, QaAnswer, ScoredAnswer
from server.tasks.reading import Mention, ReadAnswer, ScoredCandidate

CONTEXT = "Anna has a crab. The crab is red. Ben has a hen."
TOKENS = CONTEXT.lower().replace(".", "").split()


def body(top_k=None):
    parameters = None if top_k is None else QuestionAnsweringParameters(top_k)
    return QuestionAnsweringInput(QuestionAndContext("What is red?", CONTEXT), parameters)


def attention(**weights):
    values = np.array([[weights.get(f"at_{place}", 0.0) for place in range(len(TOKENS))]], np.float32)
    return Attention("token", "token", [Axis("answer", ["crab"]), Axis("token", TOKENS)], values)


def mention(token, text):
    start = CONTEXT.index(text) + text.index(text.split()[-1])
    return Mention(start, start + len(text.split()[-1]), token)


READ = ReadAnswer(
    "crab",
    0.75,
    [
        ScoredCandidate("crab", 0.75, [mention(3, "a crab"), mention(5, "The crab")]),
        ScoredCandidate("hen", 0.25, [mention(11, "a hen")]),
        ScoredCandidate("fox", 0.0, []),
    ],
    attention(at_3=0.25, at_5=0.5, at_11=0.25),
    ["a warning"],
)


def test_a_reader_points_at_the_mention_with_most_attention():
    element = ReadingForm().respond(body(), READ)
    assert (element.answer, element.score, element.warnings) == ("crab", 0.75, ["a warning"])
    assert (element.start, element.end) == (CONTEXT.index("crab is"), CONTEXT.index("crab is") + 4)
    assert element.attention is READ.attention


def test_a_reader_lists_as_many_candidates_as_are_asked_for():
    best, hen, fox = ReadingForm().respond(body(3), READ)
    assert CONTEXT[hen.start : hen.end] == "hen"
    assert (fox.start, fox.end, fox.attention) == (0, 0, None)
    assert best.attention is not None
    assert len(ReadingForm().respond(body(2), READ)) == 2


def test_without_all_weights_a_reader_points_at_the_first_mention():
    top = ReadAnswer("crab", 0.75, READ.candidates, None)
    assert CONTEXT[ReadingForm().respond(body(), top).start :].startswith("crab. The")


def test_a_reader_reads_the_whole_context():
    request = ReadingForm().request(body(3))
    assert (request.document, request.question, request.top_k) == (CONTEXT, "What is red?", 3)


def test_an_answer_about_a_story_points_at_its_mention_in_the_evidence():
    answer = QaAnswer(
        "crab",
        0.5,
        [ScoredAnswer("crab", 0.5), ScoredAnswer("yes", 0.25)],
        [],
        [Evidence(1, "The crab is red.", 0.9), Evidence(0, "Anna has a crab.", 0.1)],
    )
    crab, yes = QuestionAnsweringForm().respond(body(2), answer)
    assert CONTEXT[crab.start : crab.end + 4] == "crab is "
    assert CONTEXT[yes.start : yes.end] == "The crab is red."
