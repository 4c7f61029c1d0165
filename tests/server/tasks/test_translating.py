"""Texts come back from a translator that copies: whole, in order, with attention that says so."""

import numpy as np
import pytest

from server.contract.subwords import END_ID
from server.errors import DeadlineExceeded, InputTooLong, InvalidRequest, Overloaded, RunError
from server.tasks.translating import Translating
from server.tasks.translating_form import TranslateRequest
from server.tasks.translating_parts import MOST_CHARACTERS, MOST_SENTENCES
from tests.server.copying import SAID, copying_bundle, encode, step, subwords

TASK = Translating()
LONG = "A dog runs, a dog runs, a dog runs, a dog runs."


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return copying_bundle(tmp_path_factory.mktemp("models") / "copy")


@pytest.fixture
def memory(tmp_path):
    return copying_bundle(tmp_path / "memory", kind="memory_activity")


def walk(task, part, bundle):
    """Walk one part to its end, or return why it cannot be."""
    try:
        prepared = task.prepare(part, bundle)
    except InvalidRequest as error:
        return error
    encoded = encode(prepared.arrays["source_tokens"][None])
    search = task.begin({name: array[0] for name, array in encoded.items()}, prepared, bundle)
    place = encoded["place"]
    while not search.finished:
        inputs, parents = search.feed()
        rows = np.repeat(encoded["pieces"], len(parents), axis=0)
        outputs = step(rows, place[list(parents)], inputs["previous_token"])
        place = outputs["next_place"]
        search.advance({name: outputs[name] for name in prepared.outputs if name in outputs})
    return search.answer()


def translate(bundle, task=TASK, **request):
    request = TranslateRequest(**request)
    parts = task.parts(request, bundle)
    return task.whole(request, parts, [walk(task, part, bundle) for part in parts], bundle)


def whole(bundle, outcomes, **request):
    request = TranslateRequest(**request)
    return TASK.whole(request, TASK.parts(request, bundle), outcomes, bundle)


@pytest.mark.parametrize("split", ["sentences", "none"])
def test_one_sentence_comes_back_with_where_the_model_looked(bundle, split):
    [found] = translate(bundle, text=" A dog runs.\n", split=split).translations
    assert found.text == " A dog runs.\n"
    assert found.finish_reason == "end"
    assert found.score == pytest.approx(SAID)
    assert found.source_tokens == [*found.tokens, "[END]"]
    assert (found.attention.weights == np.eye(len(found.tokens), len(found.source_tokens))).all()
    [sentence] = found.sentences
    assert (sentence.start, sentence.end, sentence.text_start, sentence.text_end) == (1, 12, 1, 12)


def test_a_long_text_is_translated_sentence_by_sentence_and_keeps_its_lines(bundle):
    text = "  A dog runs.  Two women!\n\n* A dog.\n-----\nRun?"
    [found] = translate(bundle, text=text).translations
    assert found.text == text
    said = [text[one.start : one.end] for one in found.sentences]
    assert said == ["A dog runs.", "Two women!", "A dog.", "Run?"]
    assert [found.text[one.text_start : one.text_end] for one in found.sentences] == said
    weights, kind = found.attention.weights, found.attention
    assert weights.shape == (len(found.tokens), len(found.source_tokens))
    assert weights.sum(axis=1) == pytest.approx(1.0)
    for one in found.sentences:
        block = weights[slice(*one.tokens), slice(*one.source_tokens)]
        assert (block == np.eye(*block.shape)).all()
    assert [axis.labels for axis in kind.axes] == [found.tokens, found.source_tokens]


def test_a_sentence_that_is_too_long_is_cut_and_the_answer_says_so(bundle):
    answer = translate(bundle, text=LONG)
    [found] = answer.translations
    assert found.text == LONG
    assert [one.begins_after for one in found.sentences][:2] == ["sentence", "clause"]
    assert f"text was cut in {len(found.sentences) - 1} places" in answer.warnings[0]
    with pytest.raises(InputTooLong, match="manifest: max_pieces"):
        translate(bundle, text=LONG, split="none")


def test_texts_come_back_in_order_and_one_without_words_spoils_only_itself(bundle):
    answer = translate(bundle, texts=["A dog.", "...", "Two women. A map."])
    first, wrong, last = answer.translations
    assert (first.text, last.text) == ("A dog.", "Two women. A map.")
    assert (wrong.error.code, wrong.error.details) == ("invalid_request", {"fields": ["texts[1]"]})
    assert wrong.text is None
    with pytest.raises(InvalidRequest, match="text has no words"):
        translate(bundle, text=" \n ")


def test_a_text_is_an_error_when_one_of_its_sentences_is(bundle):
    request = {"texts": ["A dog. A map.", "A dog."]}
    parts = TASK.parts(TranslateRequest(**request), bundle)
    done = walk(TASK, parts[0], bundle)
    spoilt, found = whole(bundle, [done, RunError("a secret"), done], **request).translations
    assert spoilt.error.code == "internal"
    assert "secret" not in spoilt.error.message
    assert found.text == "A dog."


@pytest.mark.parametrize("failure", [DeadlineExceeded("late"), Overloaded("full", 1.0)], ids=["late", "full"])
def test_what_may_succeed_later_fails_the_request_when_it_hits_every_text(bundle, failure):
    with pytest.raises(type(failure)):
        whole(bundle, [failure, failure], texts=["A dog.", "A map."])
    with pytest.raises(type(failure)):
        whole(bundle, [failure], text="A dog.")


def test_texts_that_are_all_wrong_each_say_so(bundle):
    wrong = translate(bundle, texts=["...", "?"]).translations
    assert [one.error.code for one in wrong] == ["invalid_request"] * 2


@pytest.mark.parametrize("form", ["top", "none"])
def test_attention_of_a_whole_text_has_the_form_that_was_asked_for(bundle, form):
    [found] = translate(bundle, text="A dog runs. Two women!", attention=form, attention_top_k=2).translations
    if form == "none":
        assert found.attention is None
        return
    rows = found.attention.weights
    assert [row[0] for row in rows] == [
        [one.source_tokens[0] + token - one.tokens[0], 1.0]
        for one in found.sentences
        for token in range(*one.tokens)
    ]
    assert {len(row) for row in rows} == {2}


def test_more_attention_than_an_answer_carries_keeps_the_largest_weights(bundle):
    task = Translating(max_attention_weights=50)
    answer = translate(bundle, task, text="A dog runs. Two women read a map.", attention_top_k=1)
    [found] = answer.translations
    assert all(len(row) == 1 and row[0][1] == 1.0 for row in found.attention.weights)
    assert "ENGRAM_MAX_ATTENTION_WEIGHTS" in answer.warnings[-1]


@pytest.mark.parametrize("form", ["full", "top", "none"])
def test_a_sentence_that_becomes_nothing_leaves_the_attention_of_the_others(bundle, form):
    request = {"text": "A dog runs. Two women! A map.", "attention": form}
    parts = TASK.parts(TranslateRequest(**request), bundle)
    prepared = TASK.prepare(parts[1], bundle)
    encoded = encode(prepared.arrays["source_tokens"][None])
    search = TASK.begin({name: array[0] for name, array in encoded.items()}, prepared, bundle)
    ends = np.where(np.arange(len(subwords())) == END_ID, SAID, -9.0).astype(np.float32)
    search.advance({"log_probabilities": ends[None], "attention": encoded["pieces"].astype(np.float32)})
    outcomes = [walk(TASK, parts[0], bundle), search.answer(), walk(TASK, parts[2], bundle)]
    [found] = whole(bundle, outcomes, **request).translations
    assert found.text == "A dog runs.  A map."
    [middle] = whole(bundle, [search.answer()], text="Two women!", attention=form).translations
    assert middle.text == ""
    if form == "none":
        assert found.attention is middle.attention is None
        return
    assert len(found.attention.weights) == len(found.tokens)
    assert [axis.labels for axis in found.attention.axes] == [found.tokens, found.source_tokens]
    assert len(middle.attention.weights) == 0
    assert list(middle.attention.axes[1].labels) == middle.source_tokens


def test_active_memory_is_called_what_it_is(memory):
    [found] = translate(memory, text="A dog. A map.").translations
    assert (found.attention.kind, found.attention.normalized_over) == ("memory_activity", None)


@pytest.mark.parametrize(
    ("request_", "what"),
    [
        ({"text": "a" * (MOST_CHARACTERS + 1)}, "characters"),
        ({"texts": ["Run! " * 200] * (MOST_SENTENCES // 200 + 1)}, "sentences"),
    ],
    ids=["characters", "sentences"],
)
def test_a_request_is_bounded(bundle, request_, what):
    with pytest.raises(InputTooLong, match=f"{what} or more, a request takes"):
        TASK.parts(TranslateRequest(**request_), bundle)


@pytest.mark.parametrize("fields", [{}, {"text": "A.", "texts": ["A."]}], ids=["neither", "both"])
def test_a_request_has_a_text_or_texts(bundle, fields):
    with pytest.raises(InvalidRequest, match="either text or texts"):
        TASK.parts(TranslateRequest(**fields), bundle)


@pytest.mark.parametrize(
    ("request_", "is_long"),
    [({"text": "A dog."}, False), ({"text": "a" * 6000}, True), ({"texts": ["a" * 2000] * 3}, True)],
    ids=["short", "long", "long together"],
)
def test_a_request_says_whether_it_is_long(request_, is_long):
    assert TASK.is_long(TranslateRequest(**request_)) is is_long


def test_texts_are_counted_singly():
    assert TranslateRequest(text="A. B. C.").items == 1
    assert TranslateRequest(texts=["A.", "B."]).items == 2


def test_pieces_end_where_their_text_does():
    text = "A d\u00f6g \N{DOG}."
    ends = subwords().ends(text)
    assert len(ends) == len(subwords().ids(text))
    assert ends[-1] == len(text)
    assert ends == sorted(ends)
