import json

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from server.contract.attention import Attention, attend, encode_array, floats, largest
from server.contract.manifest import AttentionSpec

SPEC = AttentionSpec(output="attention", kind="episodic_gate", axes=("hop", "fact"), normalized_over="fact")
LABELS = {"hop": ["1", "2"], "fact": ["a", "b", "c"]}
WEIGHTS = np.array([[0.7, 0.1, 0.2], [0.25, 0.25, 0.5]], dtype=np.float32)
ENCODER = msgspec.json.Encoder(enc_hook=encode_array)

singles = st.floats(width=32, allow_nan=False, allow_infinity=False)


def payload(**options):
    return json.loads(ENCODER.encode(attend(SPEC, WEIGHTS, LABELS, **options)))


def test_full_attention_has_every_weight_in_its_shortest_form():
    assert payload(form="full", top_k=2) == {
        "kind": "episodic_gate",
        "normalized_over": "fact",
        "axes": [{"name": "hop", "labels": ["1", "2"]}, {"name": "fact", "labels": ["a", "b", "c"]}],
        "weights": [[0.7, 0.1, 0.2], [0.25, 0.25, 0.5]],
        "offset": 0,
    }


def test_top_attention_has_the_largest_of_each_row_and_equal_ones_in_order():
    sent = payload(form="top", top_k=2, offset=4)
    assert sent["weights"] == [[[0, 0.7], [2, 0.2]], [[2, 0.5], [0, 0.25]]]
    assert sent["offset"] == 4
    assert sent["axes"][1]["labels"] == ["a", "b", "c"]


def test_more_than_there_is_gives_all():
    assert payload(form="top", top_k=99)["weights"][0] == [[0, 0.7], [2, 0.2], [1, 0.1]]


def test_a_cut_array_is_encoded_as_cut():
    weights = np.arange(12, dtype=np.float32).reshape(3, 4)[:2, :3]
    attention = attend(SPEC, weights, LABELS, form="full", top_k=1)
    assert json.loads(ENCODER.encode(attention))["weights"] == weights.tolist()


@given(arrays(np.float32, (2, 3), elements=singles))
def test_encoded_weights_read_back_as_the_same_float32(weights):
    attention = attend(SPEC, weights, LABELS, form="full", top_k=1)
    sent = np.array(json.loads(ENCODER.encode(attention))["weights"], dtype=np.float32)
    np.testing.assert_array_equal(sent, weights)


@given(arrays(np.float32, st.integers(1, 9), elements=singles), st.integers(1, 12))
def test_largest_are_the_k_largest(values, k):
    places = largest(values, k)
    assert sorted(values[places], reverse=True) == sorted(values, reverse=True)[:k] == values[places].tolist()


def test_floats_print_as_short_as_the_float32_does():
    assert floats(np.array([0.1, 1 / 3], dtype=np.float32)) == [0.1, 0.33333334]


def test_what_is_no_array_is_not_encoded():
    with pytest.raises(NotImplementedError, match="object"):
        ENCODER.encode(object())


def test_the_payload_has_a_schema():
    schema = msgspec.json.schema_components([Attention])[1]["Attention"]
    assert schema["properties"]["weights"]["type"] == "array"
    assert set(schema["properties"]) == {"kind", "normalized_over", "axes", "weights", "offset"}
