import json

import msgspec
import numpy as np
import pytest

from server.contract.attention import encode_array
from server.errors import BundleError, InputTooLong, InvalidRequest, RunError, UnknownWords
from server.tasks import TASKS, StepwiseTask
from server.tasks.completion import Completion
from server.tasks.completion_form import SENTINEL, CompleteRequest
from server.tasks.writing import drawn
from tests.server.language import LIMITS, POINTED, STEP, L, V, drive, language_bundle

TASK = Completion()


@pytest.fixture(scope="module")
def bundle():
    return language_bundle()


def complete(bundle, text="Ada sailed", task=TASK, **fields):
    prepared = task.prepare(CompleteRequest(text=text, **fields), bundle)
    return drive(task.begin({}, prepared, bundle), prepared.arrays, prepared.outputs)


def answer(bundle, *args, **fields):
    return complete(bundle, *args, **fields)[0]


def refusal(bundle, error, *args, **fields):
    with pytest.raises(error) as caught:
        complete(bundle, *args, **fields)
    return caught.value


def encoded(result):
    return json.loads(msgspec.json.Encoder(enc_hook=encode_array).encode(result))


def test_the_task_is_listed_and_is_driven_step_by_step():
    assert TASKS["complete"] is Completion
    assert isinstance(TASK, StepwiseTask)


def test_the_most_probable_words_are_written(bundle):
    result = answer(bundle, max_words=4)
    assert [word.word for word in result.words] == ["to", "Lisbon", ".", "the"]
    assert result.text == " to Lisbon. the"
    assert result.text == "".join(word.text for word in result.words)


def test_a_text_is_read_in_chunks_after_the_end_of_a_line(bundle):
    _, events, fed = complete(bundle, "Ada sailed to Lisbon . Ada", max_words=2)
    assert fed == [[2, 3, 4, 5], [6, 7, 3], [4]]
    assert [event.word for event in events] == ["sailed", "to"]


def test_a_word_is_the_sum_of_both_ways_to_it(bundle):
    (word,) = answer(bundle, "Ada sailed Ada", max_words=1, top_k=V).words
    for choice in (word, *word.alternatives):
        assert choice.probability == pytest.approx(choice.from_pointer + choice.from_vocabulary)
        places = {"<eos>": 1, "Ada": 2, "sailed": 1}.get(choice.word, 0)
        assert choice.from_pointer == pytest.approx(POINTED * places / 4)
    assert word.sentinel_gate == pytest.approx(1 - POINTED)
    assert word.word == word.alternatives[0].word == "sailed"
    probabilities = [choice.probability for choice in word.alternatives]
    assert probabilities == sorted(probabilities, reverse=True)


def test_the_score_is_the_geometric_mean_of_the_words(bundle):
    result = answer(bundle, max_words=3)
    product = np.prod([word.probability for word in result.words])
    assert result.score == pytest.approx(product ** (1 / 3))


def test_each_word_has_its_attention_over_the_window_that_it_saw(bundle):
    first, second = answer(bundle, "Ada sailed to", max_words=2).words
    shown = encoded(first.attention)
    assert shown["kind"] == "pointer_mixture"
    assert shown["axes"] == [{"name": "window", "labels": ["<eos>", "Ada", "sailed", "to", SENTINEL]}]
    assert sum(shown["weights"]) == pytest.approx(1)
    assert shown["offset"] == 0
    assert second.attention.axes[0].labels == ["<eos>", "Ada", "sailed", "to", "Lisbon", SENTINEL]
    later = answer(bundle, "Ada sailed to Lisbon . Ada", max_words=1).words[0].attention
    assert later.axes[0].labels == ["sailed", "to", "Lisbon", ".", "Ada", SENTINEL]
    assert later.offset == 2


def test_the_attentions_of_all_words_make_one_picture(bundle):
    result = answer(bundle, "Ada sailed to Lisbon", max_words=3)
    picture = result.attention
    assert picture.axes[0].labels == [".", "the", "@-@"]
    assert picture.axes[1].labels == ["<eos>", "Ada", "sailed", "to", "Lisbon", ".", "the", SENTINEL]
    np.testing.assert_allclose(picture.weights.sum(axis=1), 1, atol=1e-6)
    assert (picture.weights[2, :2] == 0).all()  # beyond the window by then
    assert "attention" not in encoded(result)


def test_attention_may_be_cut_to_its_largest_weights_or_left_out(bundle):
    top = answer(bundle, max_words=1, attention="top", attention_top_k=2).words[0].attention
    assert [place for place, _ in top.weights] == [3, 0]  # the sentinel has most
    assert answer(bundle, max_words=1, attention="none").words[0].attention is None
    bounded = answer(bundle, task=Completion(max_attention_weights=11), max_words=2)
    assert "ENGRAM_MAX_ATTENTION_WEIGHTS" in bounded.warnings[0]
    assert len(bounded.words[0].attention.weights[0]) == 2


def test_the_unknown_word_and_padding_are_never_written_unless_asked_for(bundle):
    words = answer(bundle, "Ada x y z x y z", max_words=20, temperature=10.0).words
    assert not {"<unk>", ""} & {word.word for word in words}
    listed = answer(bundle, "x y z", max_words=1, top_k=V).words[0].alternatives
    assert "<unk>" not in [choice.word for choice in listed]
    asked = answer(bundle, "x y z", max_words=1, top_k=V, allow_unknown=True).words[0].alternatives
    assert "<unk>" in [choice.word for choice in asked]
    assert "" not in [choice.word for choice in asked]


def test_the_same_seed_draws_the_same_words(bundle):
    texts = [answer(bundle, max_words=12, temperature=1.0, seed=seed).text for seed in (5, 5, 6)]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("temperature", [1e-3, 1e-300, 1e-320])
def test_a_very_low_temperature_draws_the_most_probable_word(temperature):
    assert drawn(np.array([0.0, 0.1, 0.7, 0.2]), temperature, np.random.default_rng(0)) == 2


def test_a_temperature_sharpens_or_flattens_the_odds():
    odds, rng = np.array([0.0, 0.7, 0.2, 0.1]), np.random.default_rng(1)
    share = {
        temperature: np.bincount([drawn(odds, temperature, rng) for _ in range(4000)], minlength=4) / 4000
        for temperature in (0.2, 1.0, 10.0)
    }
    np.testing.assert_allclose(share[1.0], odds, atol=0.03)
    assert share[0.2][1] > 0.99
    assert share[10.0].max() < 0.4
    assert all(values[0] == 0 for values in share.values())


def test_a_given_text_is_rated_instead_of_writing_one(bundle):
    rated = answer(bundle, "Ada sailed", then="to the Lisbon", top_k=0)
    assert [word.word for word in rated.words] == ["to", "the", "Lisbon"]
    assert rated.words[0].probability > 5 * rated.words[1].probability
    assert rated.words[0].alternatives == []
    written = answer(bundle, "Ada sailed", max_words=1)
    assert rated.words[0].probability == written.words[0].probability


def test_going_on_from_a_state_is_as_if_it_had_never_stopped(bundle):
    whole = answer(bundle, "Ada sailed to", max_words=6)
    first = answer(bundle, "Ada sailed to", max_words=2)
    second = answer(bundle, "", max_words=4, state=first.state)
    assert first.text + second.text == whole.text
    assert [w.probability for w in (*first.words, *second.words)] == [w.probability for w in whole.words]
    assert second.words[-1].attention.axes == whole.words[-1].attention.axes
    assert second.words[-1].attention.offset == whole.words[-1].attention.offset
    assert second.state == whole.state


def test_a_text_may_be_added_to_a_state(bundle):
    first = answer(bundle, "Ada", max_words=1)
    _, _, fed = complete(bundle, "to Lisbon", max_words=1, state=first.state)
    assert fed == [[4, 5, 6]]


def test_a_state_is_left_out_where_nobody_wants_it(bundle):
    prepared = TASK.prepare(CompleteRequest("Ada", return_state=False), bundle)
    assert prepared.outputs == ("probabilities", "attention")
    assert answer(bundle, return_state=False).state is None


def test_unknown_words_are_read_with_a_warning(bundle):
    result = answer(bundle, "Ada flew to Rome", max_words=1)
    assert result.warnings == ["not known to this model and read as <unk>: flew, Rome"]
    assert answer(bundle, "Ada <unk> to", max_words=1).warnings == []


def test_unknown_words_are_refused_on_request(bundle):
    error = refusal(bundle, UnknownWords, "Ada flew", then="sailer", unknown_words="error")
    assert error.details["fields"] == ["then", "text"]
    assert {"word": "sailer", "field": "then", "nearest": ["sailed"]} in error.details["words"]


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"text": " "}, InvalidRequest, "text has no words"),
        ({"text": "Ada", "then": " "}, InvalidRequest, "then has no words"),
        ({"text": "Ada " * 50}, InputTooLong, r"text has 50 words, this model takes 39 \(manifest: max_text"),
        ({"text": "Ada " * 30, "max_words": 20}, InputTooLong, "30 words and max_words asks for 20 more"),
        ({"text": "Ada", "then": "to " * 40}, InputTooLong, "1 words and then asks for 40 more"),
        ({"text": "A" * 801}, InputTooLong, "text has 801 characters, this model takes 800"),
        ({"text": "Ada", "then": "A" * 801}, InputTooLong, "then has 801 characters"),
    ],
    ids=[
        "no words",
        "nothing then",
        "long text",
        "long in all",
        "long then",
        "characters",
        "characters then",
    ],
)
def test_what_cannot_be_continued_is_refused(bundle, fields, error, message):
    with pytest.raises(error, match=message):
        complete(bundle, **fields)


def test_a_graph_that_returns_no_numbers_fails_the_run(bundle):
    prepared = TASK.prepare(CompleteRequest("Ada"), bundle)
    search = TASK.begin({}, prepared, bundle)
    search.feed()
    with pytest.raises(RunError):
        search.advance(
            {
                "probabilities": np.full((1, V), np.nan, np.float32),
                "attention": np.ones((1, 2, L + 1), np.float32),
            }
        )


def broken(*, drop=(), inputs=STEP.inputs, **changes):
    outputs = tuple(spec for spec in STEP.outputs if spec.name not in drop)
    stage = STEP.model_copy(update={"outputs": outputs, "inputs": inputs})
    return language_bundle(**{"stages": {"step": stage}} | changes)


@pytest.mark.parametrize(
    ("bundle", "reason"),
    [
        (language_bundle(limits={"max_words": 4, "window": L}), "task complete needs max_text_words"),
        (language_bundle(limits=LIMITS | {"window": 6}), "task complete needs window_words"),
        (language_bundle(stages={}), "task complete needs a stage step"),
        (broken(drop=("attention",)), "task complete needs attention"),
        (broken(drop=("next_hidden",)), "a step of words and a state of fixed size"),
    ],
    ids=["limit", "window", "stages", "attention", "state"],
)
def test_a_bundle_that_lacks_something_is_refused(bundle, reason):
    with pytest.raises(BundleError, match=reason):
        TASK.check(bundle)


def test_a_whole_bundle_passes(bundle):
    TASK.check(bundle)
