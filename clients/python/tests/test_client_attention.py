import copy
import pickle

import numpy as np
import pytest
from conftest import STORY, WEIGHTS, qa_payload

import engram


def attention(**changes):
    return engram.Attention.from_payload({**qa_payload()["attention"], **changes})


def test_weights_are_a_read_only_float32_array_with_named_axes():
    looked = attention()
    assert looked.weights.shape == looked.shape == (3, 3)
    assert looked.weights.dtype == np.float32
    np.testing.assert_allclose(looked.weights, WEIGHTS)
    assert looked.axis("fact").labels == tuple(STORY)
    assert (looked.kind, looked.normalized_over, looked.top) == ("episodic_gate", "fact", None)
    with pytest.raises(ValueError, match="read-only"):
        looked.weights[0, 0] = 1.0


def test_weights_are_made_once_and_only_when_asked_for():
    looked = attention()
    assert "weights" not in vars(looked)
    assert looked.weights is looked.weights


def test_an_unknown_axis_names_those_that_exist():
    with pytest.raises(KeyError, match="this attention has hop, fact"):
        attention().axis("token")


def test_top_rows_are_kept_and_the_rest_of_the_array_is_nan():
    looked = attention(weights=[[[1, 0.97]], [[2, 0.875], [1, 0.125]], [[1, 0.5]]])
    assert looked.top[1] == [[2, 0.875], [1, 0.125]]
    nan = np.nan
    expected = np.array([[nan, 0.97, nan], [nan, 0.125, 0.875], [nan, 0.5, nan]], dtype=np.float32)
    np.testing.assert_array_equal(looked.weights, expected)


def test_attention_with_one_axis_has_top_rows_too():
    axes = [{"name": "token", "labels": ["a", "b", "c"]}]
    assert attention(axes=axes, weights=[0.25, 0.5, 0.25]).top is None
    np.testing.assert_array_equal(attention(axes=axes, weights=[[1, 0.5]]).weights, [np.nan, 0.5, np.nan])


def test_attention_over_nothing_is_empty():
    axes = [{"name": "hop", "labels": ["1", "2"]}, {"name": "fact", "labels": []}]
    assert attention(axes=axes, weights=[[], []]).weights.shape == (2, 0)


def test_two_axes_print_as_a_table():
    lines = str(attention()).splitlines()
    assert lines[0] == "episodic_gate (3 hop by 3 fact)"
    assert lines[1].split("  ") == [" hop 1", " hop 2", " hop 3"]
    assert lines[3] == " 0.970   0.125   0.500  John took the milk."


def test_other_axes_print_as_a_line():
    axes = [{"name": "token", "labels": ["a", "b", "c"]}]
    assert str(attention(axes=axes, weights=[0.25, 0.5, 0.25])) == "episodic_gate (3 token)"


def test_answers_are_frozen_and_travel_between_processes():
    answer = engram.Answer.from_payload(qa_payload(), "r-1")
    with pytest.raises(AttributeError):
        answer.answer = "kitchen"
    for remade in (copy.deepcopy(answer), pickle.loads(pickle.dumps(answer))):
        assert remade == answer
        np.testing.assert_array_equal(remade.attention.weights, answer.attention.weights)
