from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from models.data.cloze import reading_vocabulary
from server.contract.bundle import Bundle
from server.contract.manifest import AttentionSpec, Manifest, Signature, TensorSpec
from server.errors import BundleError, InputTooLong, InvalidRequest, RunError, UnknownWords
from server.tasks import TASKS
from server.tasks.reading import ReadAnswer, Reading, ReadRequest

SIGNATURE = Signature(
    inputs=(
        TensorSpec(name="document_tokens", datatype="INT64", dims=("batch", "tokens")),
        TensorSpec(name="question_tokens", datatype="INT64", dims=("batch", "question_tokens")),
        TensorSpec(name="token_candidates", datatype="INT64", dims=("batch", "tokens")),
        TensorSpec(name="candidates", datatype="INT64", dims=("batch", "candidates")),
    ),
    outputs=(
        TensorSpec(name="candidate_probabilities", datatype="FP32", dims=("batch", "candidates")),
        TensorSpec(name="attention", datatype="FP32", dims=("batch", 1, "tokens")),
    ),
    attention=AttentionSpec(
        output="attention", kind="token", axes=("answer", "token"), normalized_over="token"
    ),
)
LIMITS = {"max_tokens": 13, "max_question_tokens": 7, "max_candidates": 5, "slots": 2}
MANIFEST = Manifest(
    name="reader",
    task="read",
    family="attention_sum_reader",
    description="",
    graphs={"model": "model.onnx"},
    signature=SIGNATURE,
    limits=LIMITS,
    tokenizer="tokenizer.json",
    files={},
)
BUNDLE = Bundle(Path(), 1, MANIFEST, reading_vocabulary(["ada", "saw", "ben", "in", "new", "york"]))
DOCUMENT = "Ada saw Ben in New York. Ben saw York."
task = Reading()


def prepare(**fields):
    return task.prepare(
        ReadRequest(**{"document": DOCUMENT, "question": "@placeholder saw York"} | fields), BUNDLE
    )


def answer(probabilities, weights=None, **fields):
    prepared = prepare(**fields)
    words = len(prepared.arrays["document_tokens"])
    outputs = {"candidate_probabilities": np.array(probabilities, dtype=np.float32)}
    if "attention" in prepared.outputs:
        even = np.full(words, 1 / words) if weights is None else weights
        outputs["attention"] = np.array([even], dtype=np.float32)
    return task.interpret(outputs, prepared, BUNDLE)


def bundle(**changes):
    return replace(BUNDLE, manifest=MANIFEST.model_copy(update=changes))


def test_the_task_is_listed():
    assert TASKS["read"] is Reading


def test_a_request_becomes_ids_and_numbers_of_candidates():
    arrays = prepare(candidates=["Ben", "New York", "York", "Carl"]).arrays
    assert arrays["document_tokens"].tolist() == [3, 4, 5, 6, 7, 8, 5, 4, 8]
    assert arrays["question_tokens"].tolist() == [2, 4, 8]
    assert arrays["token_candidates"].tolist() == [0, 0, 1, 0, 2, 2, 1, 0, 3]
    assert arrays["candidates"].tolist() == [1, 2, 3, 4]


def test_without_candidates_every_word_of_the_document_is_one():
    arrays = prepare(document="Ben saw Ada, and Ada saw.").arrays
    assert arrays["token_candidates"].tolist() == [1, 2, 3, 4, 3, 2]
    assert arrays["candidates"].tolist() == [1, 2, 3, 4]


def test_an_answer_names_the_candidates_by_probability_with_their_places():
    found = answer([0.2, 0.7, 0.1, 0.0], candidates=["Ben", "New York", "York", "Carl"])
    assert isinstance(found, ReadAnswer)
    assert (found.answer, found.score) == ("New York", pytest.approx(0.7))
    texts = {
        one.text: [(place.token, DOCUMENT[place.start : place.end]) for place in one.positions]
        for one in found.candidates
    }
    assert list(texts) == ["New York", "Ben", "York", "Carl"]
    assert texts == {
        "New York": [(4, "New York")],
        "Ben": [(2, "Ben"), (6, "Ben")],
        "York": [(8, "York")],
        "Carl": [],
    }


def test_words_are_called_as_the_document_writes_them_first():
    found = answer([0.1, 0.2, 0.3, 0.4], document="BEN saw Ada, and ada saw ben.", top_k=2)
    assert [one.text for one in found.candidates] == ["and", "Ada"]


def test_every_candidate_is_listed_when_candidates_were_given():
    found = answer([0.5, 0.3, 0.2], candidates=["Ada", "Ben", "York"], top_k=1)
    assert len(found.candidates) == 3


def test_attention_is_one_row_over_the_words_as_they_were_written():
    weights = np.linspace(0, 0.2, 9)
    attention = answer([0.5, 0.5], weights, candidates=["Ada", "Ben"]).attention
    assert (attention.kind, attention.normalized_over) == ("token", "token")
    assert [axis.name for axis in attention.axes] == ["answer", "token"]
    assert list(attention.axes[0].labels) == ["Ada"]
    assert attention.axes[1].labels == ["Ada", "saw", "Ben", "in", "New", "York", "Ben", "saw", "York"]
    np.testing.assert_allclose(attention.weights, [weights], rtol=1e-6)


def test_attention_can_be_short_or_left_out():
    top = answer([1.0], np.linspace(0, 0.2, 9), candidates=["Ada"], attention="top", attention_top_k=2)
    assert [place for place, _ in top.attention.weights[0]] == [8, 7]
    assert prepare(candidates=["Ada"], attention="none").outputs == ("candidate_probabilities",)
    assert answer([1.0], candidates=["Ada"], attention="none").attention is None


def test_a_long_attention_is_cut_to_the_largest_with_a_warning():
    prepared = prepare(candidates=["Ada"])
    outputs = {
        "candidate_probabilities": np.ones(1, dtype=np.float32),
        "attention": np.ones((1, 9), dtype=np.float32),
    }
    found = Reading(max_attention_weights=8).interpret(outputs, prepared, BUNDLE)
    assert len(found.attention.weights[0]) == 5
    assert "attention has 9 weights, an answer carries 8" in found.warnings[0]


def test_unknown_words_are_told_apart_and_nothing_is_said_while_there_are_slots():
    document = "Zorb saw Quux in Zorb."
    arrays = prepare(document=document).arrays
    assert arrays["document_tokens"].tolist() == [9, 4, 10, 6, 9]
    assert answer([0.25] * 4, document=document).warnings == []


def test_unknown_words_beyond_the_slots_and_those_to_be_listed_are_warned_of():
    document = "Zorb saw Quux in Blip."
    (said,) = answer([0.2] * 5, document=document).warnings
    assert "3 different words that this model does not know, and 2 slots" in said
    (listed,) = answer([0.2] * 5, document=document, unknown_words="map").warnings
    assert listed.endswith("zorb, quux, blip")


def test_unknown_words_can_be_refused():
    with pytest.raises(UnknownWords) as raised:
        prepare(document="Zorb saw Ada.", question="Quux saw @placeholder", unknown_words="error")
    assert raised.value.details["fields"] == ["document", "question"]


@pytest.mark.parametrize(
    ("fields", "error", "message", "place"),
    [
        ({"document": ""}, InvalidRequest, "document has no words", "document"),
        ({"question": "?!"}, InvalidRequest, "question has no words", "question"),
        (
            {"question": "@placeholder saw @placeholder"},
            InvalidRequest,
            "question has more than one @placeholder",
            "question",
        ),
        ({"document": "ada " * 14}, InputTooLong, "document has 14 words, this model takes 13", "document"),
        ({"question": "ada " * 8}, InputTooLong, "question has 8 words, this model takes 7", "question"),
        ({"candidates": []}, InvalidRequest, "holds none of the candidates", "candidates"),
        ({"candidates": ["Carl"]}, InvalidRequest, "holds none of the candidates", "candidates"),
        ({"candidates": ["Ada", "!"]}, InvalidRequest, r"candidates\[1\] has no words", "candidates[1]"),
        (
            {"candidates": ["Ada", "Ben", "ada."]},
            InvalidRequest,
            r"candidates\[2\] has the same words as candidates\[0\]",
            "candidates[2]",
        ),
        (
            {"candidates": [str(number) for number in range(6)]},
            InputTooLong,
            "candidates has 6 items, this model takes 5",
            "candidates",
        ),
        (
            {"document": "ada saw ben in new york"},
            InputTooLong,
            "document has 6 different words, this model takes 5",
            "document",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_what_cannot_be_read_is_refused_with_its_field(fields, error, message, place):
    with pytest.raises(error, match=message) as raised:
        prepare(**fields)
    assert raised.value.details["fields"] == [place]


def test_what_is_no_number_is_not_answered():
    with pytest.raises(RunError, match="not a number"):
        answer([float("nan")], candidates=["Ada"])


def test_a_request_is_checked_field_by_field():
    with pytest.raises(msgspec.ValidationError, match="unknown_words"):
        msgspec.convert({"document": "", "question": "", "unknown_words": "guess"}, ReadRequest)


def test_a_whole_bundle_passes_the_check():
    task.check(BUNDLE)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (replace(BUNDLE, vocabulary=None), "needs a tokenizer that knows @placeholder"),
        (bundle(limits={**LIMITS, "slots": 0}), "needs slots"),
        (
            bundle(signature=SIGNATURE.model_copy(update={"inputs": SIGNATURE.inputs[1:]})),
            r"needs document_tokens \['batch', 'tokens'\], the manifest has None",
        ),
        (
            bundle(
                signature=SIGNATURE.model_copy(
                    update={"attention": SIGNATURE.attention.model_copy(update={"axes": ("token",)})}
                )
            ),
            "needs the output attention with the axes answer and token",
        ),
    ],
    ids=["no tokenizer", "no slots", "no document", "other axes"],
)
def test_a_bundle_without_what_is_needed_is_refused(broken, message):
    with pytest.raises(BundleError, match=message):
        task.check(broken)
