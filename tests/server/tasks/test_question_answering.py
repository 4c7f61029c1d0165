import json
import re

import msgspec
import numpy as np
import pytest

from server.contract.attention import encode_array
from server.contract.bundle import Bundle
from server.contract.text import UNKNOWN_ID
from server.errors import BundleError, InputTooLong, InvalidRequest, RunError, UnknownWords
from server.tasks import TASKS
from server.tasks.question_answering import QaAnswer, QaRequest, QuestionAnswering
from server.tasks.words import MAX_CHARACTERS, SUGGESTIONS
from tests.server.fakes import ANSWERS, HOPS, LIMITS, SIGNATURE, arithmetic, rewrite

STORY = ["Anna went to the garden.", "Ben took the lamp.", "Ben is in the hall."]
TASK = QuestionAnswering()


def ask(bundle, task=TASK, **fields):
    request = QaRequest(**({"story": STORY, "question": "Where is Ben?"} | fields))
    prepared = task.prepare(request, bundle)
    outputs = arithmetic(**{name: array[None] for name, array in prepared.arrays.items()})
    return task.interpret({name: array[0] for name, array in outputs.items()}, prepared, bundle)


def refusal(bundle, error, **fields):
    with pytest.raises(error) as caught:
        ask(bundle, **fields)
    return caught.value


def encoded(answer):
    return json.loads(msgspec.json.Encoder(enc_hook=encode_array).encode(answer))


def test_the_task_is_listed():
    assert TASKS["qa"] is QuestionAnswering


def test_prepared_arrays_hold_the_words_and_are_padded_to_the_longest_fact(bundle):
    prepared = TASK.prepare(QaRequest(story=STORY, question="Where is Ben?"), bundle)
    story = prepared.arrays["story_tokens"]
    assert story.shape == (3, 5)
    assert story.dtype == np.int64
    for row, fact in zip(story, STORY, strict=True):
        ids = bundle.vocabulary.ids(fact)
        np.testing.assert_array_equal(row[: len(ids)], ids)
        assert not row[len(ids) :].any()
    np.testing.assert_array_equal(prepared.arrays["question_tokens"], bundle.vocabulary.ids("where is ben"))
    assert prepared.outputs == tuple(spec.name for spec in SIGNATURE.outputs)


def test_a_story_may_be_one_text(bundle):
    assert encoded(ask(bundle, story=" ".join(STORY))) == encoded(ask(bundle))


def test_the_answer_is_the_most_probable_one_and_heads_the_alternatives(bundle):
    answer = ask(bundle, top_k=3)
    assert answer.alternatives[0].answer == answer.answer in ANSWERS
    scores = [alternative.score for alternative in answer.alternatives]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert answer.score == scores[0] == pytest.approx(5 / 15)


def test_more_alternatives_than_answers_gives_them_all(bundle):
    assert {one.answer for one in ask(bundle, top_k=100).alternatives} == set(ANSWERS)


def test_hops_tell_what_would_have_been_answered_after_each(bundle):
    answer = ask(bundle)
    turn = ANSWERS.index(answer.answer)
    assert [hop.answer for hop in answer.hops] == [ANSWERS[(turn + 2 - hop) % 5] for hop in range(HOPS)]
    assert answer.hops[-1].answer == answer.answer


def test_evidence_are_the_facts_by_their_largest_gate_over_the_hops(bundle):
    answer = ask(bundle, attention_top_k=2)
    gates = np.asarray(answer.attention.weights).max(axis=0)
    order = np.argsort(-gates)[:2]
    assert [evidence.index for evidence in answer.evidence] == order.tolist()
    assert [evidence.text for evidence in answer.evidence] == [STORY[place] for place in order]
    assert [evidence.weight for evidence in answer.evidence] == pytest.approx(gates[order].tolist())


def test_full_attention_is_labelled_by_hops_and_by_the_sentences_as_they_came(bundle):
    attention = encoded(ask(bundle))["attention"]
    assert attention["kind"] == "episodic_gate"
    assert attention["axes"] == [
        {"name": "hop", "labels": ["1", "2", "3"]},
        {"name": "fact", "labels": STORY},
    ]
    assert np.shape(attention["weights"]) == (HOPS, len(STORY))
    assert np.sum(attention["weights"], axis=1) == pytest.approx([1.0] * HOPS)


def test_top_attention_has_pairs_of_index_and_weight(bundle):
    attention = encoded(ask(bundle, attention="top", attention_top_k=2))["attention"]
    assert np.shape(attention["weights"]) == (HOPS, 2, 2)


def test_no_attention_still_names_the_evidence(bundle):
    answer = ask(bundle, attention="none")
    assert answer.attention is None
    assert answer.evidence == ask(bundle).evidence


def test_too_large_an_attention_comes_as_top_rows_with_a_warning(bundle):
    answer = ask(bundle, task=QuestionAnswering(max_attention_weights=8))
    assert len(encoded(answer)["attention"]["weights"][0][0]) == 2
    assert "attention has 9 weights" in answer.warnings[0]
    assert "ENGRAM_MAX_ATTENTION_WEIGHTS" in answer.warnings[0]
    assert ask(bundle, task=QuestionAnswering(max_attention_weights=9)).warnings == []


def test_too_many_facts_are_refused_with_the_knob(bundle):
    error = refusal(bundle, InputTooLong, story=STORY * 3)
    assert error.message == "story has 9 facts, this model takes 7 (manifest: max_facts)"
    assert error.details == {"fields": ["story"], "length": 9, "limit": 7, "knob": "max_facts"}


def test_truncation_keeps_the_last_facts_and_counts_from_the_first_sentence(bundle):
    story = ["Anna took the box.", "Anna dropped the box.", *STORY, *STORY[:2], *STORY[:2]]
    answer = ask(bundle, story=story, truncate="oldest", attention_top_k=7)
    alone = ask(bundle, story=story[2:], attention_top_k=7)
    assert answer.attention.offset == 2
    assert list(answer.attention.axes[1].labels) == story[2:]
    assert [(one.index, one.text) for one in answer.evidence] == [
        (one.index + 2, one.text) for one in alone.evidence
    ]
    assert all(story[one.index] == one.text for one in answer.evidence)
    assert answer.warnings == [
        "story has 9 facts, this model takes 7 (manifest: max_facts): the oldest 2 were left out"
    ]


def test_truncation_leaves_a_story_that_fits_alone(bundle):
    answer = ask(bundle, truncate="oldest")
    assert (answer.attention.offset, answer.warnings) == (0, [])


def test_facts_left_out_are_not_looked_at(bundle):
    story = ["Zebra zebra.", "!", "x" * 5000, *STORY, *STORY, "Ben took the box."]
    assert ask(bundle, story=story, truncate="oldest").attention.offset == 3


@pytest.mark.parametrize("truncate", ["none", "oldest"])
@pytest.mark.parametrize("story", [[], "", " . \n!"], ids=["list", "text", "marks"])
def test_an_empty_story_is_refused(bundle, story, truncate):
    error = refusal(bundle, InvalidRequest, story=story, truncate=truncate)
    assert error.message == "story has no sentences"
    assert error.details["fields"] == ["story"]


@pytest.mark.parametrize("sentence", ["", "  ", "?!"], ids=["empty", "blank", "marks"])
def test_a_sentence_without_words_is_refused_with_its_place(bundle, sentence):
    error = refusal(bundle, InvalidRequest, story=[*STORY, sentence])
    assert error.message == "story[3] has no words"
    assert error.details["fields"] == ["story[3]"]
    assert refusal(bundle, InvalidRequest, question=sentence).message == "question has no words"


def test_too_many_words_are_refused_with_place_and_knob(bundle):
    words = "anna went to the garden garden garden"
    error = refusal(bundle, InputTooLong, story=[STORY[0], words])
    assert error.message == "story[1] has 7 words, this model takes 6 (manifest: max_words)"
    assert error.details["fields"] == ["story[1]"]
    error = refusal(bundle, InputTooLong, question=words)
    assert error.message == "question has 7 words, this model takes 5 (manifest: max_question_words)"


def test_places_count_from_the_first_sentence_under_truncation(bundle):
    story = [*STORY, *STORY, *STORY[:2], "?"]
    assert refusal(bundle, InvalidRequest, story=story, truncate="oldest").message == "story[8] has no words"


def test_an_endless_sentence_is_refused_before_it_is_read(bundle):
    endless = "milk" * MAX_CHARACTERS
    assert refusal(bundle, InputTooLong, story=[STORY[0], endless]).details["fields"] == ["story[1]"]
    assert refusal(bundle, InputTooLong, question=endless).details["fields"] == ["question"]


def test_unknown_words_are_all_listed_with_place_and_nearest_words(bundle):
    error = refusal(bundle, UnknownWords, story=["Anna went to the gardn.", "Zoe took it."], question="Who?")
    assert [(entry["word"], entry["field"]) for entry in error.details["words"]] == [
        ("gardn", "story[0]"),
        ("zoe", "story[1]"),
        ("it", "story[1]"),
    ]
    assert error.details["words"][0]["nearest"][0] == "garden"
    assert error.details["fields"] == ["story[0]", "story[1]"]
    assert "'gardn', 'zoe', 'it'" in error.message


def test_an_unknown_word_in_the_question_is_found(bundle):
    error = refusal(bundle, UnknownWords, question="Where is Zoe?")
    assert [(entry["word"], entry["field"]) for entry in error.details["words"]] == [("zoe", "question")]


def test_a_crowd_of_unknown_words_is_listed_in_full_with_suggestions_for_the_first(bundle):
    story = [" ".join(f"garden{fact}{word}" for word in range(6)) for fact in range(7)]
    error = refusal(bundle, UnknownWords, story=story)
    assert len(error.details["words"]) == 42
    assert [bool(entry["nearest"]) for entry in error.details["words"]] == [
        place < SUGGESTIONS for place in range(42)
    ]
    assert "and 37 more" in error.message


def test_unknown_words_may_be_mapped_with_a_warning(bundle):
    request = QaRequest(story=[*STORY, "Zoe took the zebra."], question="Where is Zoe?", unknown_words="map")
    prepared = TASK.prepare(request, bundle)
    assert prepared.arrays["story_tokens"][3].tolist().count(UNKNOWN_ID) == 2
    answer = ask(bundle, story=request.story, question=request.question, unknown_words="map")
    assert re.fullmatch(r"not known .* \[UNK\]: zoe, zebra", answer.warnings[0])


@pytest.mark.parametrize("output", ["answer_probabilities", "hop_probabilities", "attention"])
def test_an_output_that_is_no_number_is_an_error_and_not_an_answer(bundle, output):
    prepared = TASK.prepare(QaRequest(story=STORY, question="Where is Ben?"), bundle)
    outputs = arithmetic(**{name: array[None] for name, array in prepared.arrays.items()})
    outputs = {name: array[0].copy() for name, array in outputs.items()}
    outputs[output][:] = np.nan
    with pytest.raises(RunError, match="not a number"):
        TASK.interpret(outputs, prepared, bundle)


def test_every_question_has_the_same_default_model():
    assert TASK.selector(QaRequest(story=STORY, question="Who?")) == {}


@pytest.mark.parametrize(
    "body",
    [
        b'{"question": "Who?"}',
        b'{"story": ["a", 3], "question": "Who?"}',
        b'{"story": ["a"], "question": null}',
        b'{"story": ["a"], "question": "Who?", "top_k": 0}',
        b'{"story": ["a"], "question": "Who?", "truncate": "newest"}',
        b'{"story": ["a"], "question": "Who?", "attention": "some"}',
        b'{"story": ["a"], "question": "Who?", "timeout_ms": 0}',
        b'{"story": ["a"], "question": "Who?", "colour": "red"}',
    ],
    ids=["missing", "item", "null", "top-k", "truncate", "attention", "timeout", "unknown-field"],
)
def test_a_body_of_the_wrong_form_does_not_decode(body):
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=QaRequest)


def test_request_and_answer_have_a_schema():
    _, components = msgspec.json.schema_components([QaRequest, QaAnswer])
    assert components["QaRequest"]["required"] == ["story", "question"]
    assert "evidence" in components["QaAnswer"]["properties"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"tokenizer": None}, "tokenizer"),
        ({"limits": LIMITS | {"max_facts": 0}}, "max_facts"),
        ({"answers": ANSWERS[:4]}, "answer_probabilities"),
        (
            {
                "signature": SIGNATURE.model_copy(update={"inputs": SIGNATURE.inputs[:1]}).model_dump(
                    mode="json"
                )
            },
            "question_tokens",
        ),
        (
            {
                "signature": SIGNATURE.model_copy(
                    update={"outputs": (SIGNATURE.outputs[0], SIGNATURE.outputs[2])}
                ).model_dump(mode="json")
            },
            "hop_probabilities",
        ),
    ],
    ids=["tokenizer", "limit", "answers", "input", "output"],
)
def test_a_bundle_that_cannot_answer_questions_is_refused(repository_folder, change, reason):
    rewrite(repository_folder / "tiny", **change)
    with pytest.raises(BundleError, match=reason):
        TASK.check(Bundle.open(repository_folder / "tiny", 1))
