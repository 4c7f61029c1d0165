import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.contract.manifest import TensorSpec
from server.contract.tensors import join, sizes_of, split

INPUTS = (
    TensorSpec(name="story", datatype="INT64", dims=("batch", "facts", "words"), pad=9),
    TensorSpec(name="question", datatype="INT64", dims=("batch", "words")),
)
OUTPUTS = (
    TensorSpec(name="copy", datatype="INT64", dims=("batch", "facts", "words")),
    TensorSpec(name="weights", datatype="FP32", dims=("batch", 3, "facts")),
)


def make_request(facts, words):
    story = np.arange(facts * words).reshape(facts, words) + 10
    return {"story": story, "question": np.arange(words) + 1}


requests = st.lists(st.builds(make_request, st.integers(1, 5), st.integers(1, 7)), min_size=1, max_size=6)


@given(requests)
def test_splitting_takes_apart_what_joining_put_together(parts):
    batch = join(INPUTS, parts)
    results = split(OUTPUTS, {"copy": batch["story"]}, [sizes_of(INPUTS, part) for part in parts])
    assert len(results) == len(parts)
    for part, result in zip(parts, results, strict=True):
        np.testing.assert_array_equal(result["copy"], part["story"])


@given(requests)
def test_padding_has_the_value_of_the_manifest_and_nothing_else(parts):
    batch = join(INPUTS, parts)
    assert (batch["story"] == 9).sum() == batch["story"].size - sum(part["story"].size for part in parts)
    assert (batch["question"] == 0).sum() == batch["question"].size - sum(
        part["question"].size for part in parts
    )


def test_fixed_axes_stay_whole_and_absent_outputs_are_skipped():
    [result] = split(OUTPUTS, {"weights": np.ones((1, 3, 7))}, [{"facts": 2, "words": 5}])
    assert result["weights"].shape == (3, 2)
    assert "copy" not in result


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"story": np.ones((2, 3))}, "'question' is missing"),
        ({"story": np.ones(3), "question": np.ones(3)}, "'story' has 1 axes"),
        ({"story": np.ones((2, 3)), "question": np.ones(4)}, "axis 'words' is 4, expected 3"),
    ],
    ids=["missing", "rank", "disagreeing"],
)
def test_arrays_that_do_not_fit_are_refused_with_the_reason(arrays, reason):
    with pytest.raises(ValueError, match=reason):
        sizes_of(INPUTS, arrays)
