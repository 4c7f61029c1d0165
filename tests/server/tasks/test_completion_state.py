import base64

import numpy as np
import pytest

from server.errors import InvalidRequest
from server.tasks import completion_state
from server.tasks.completion_state import Memory, fresh, pack, unpack
from tests.server.language import L, V, language_bundle


@pytest.fixture(scope="module")
def bundle():
    return language_bundle()


def memory(**changes):
    arrays = {
        "hidden": np.array([[0.5, -1.25, 3.0]], np.float32),
        "window_words": np.array([0, 0, 3, 4, 11]),
    }
    return Memory(arrays | changes.pop("arrays", {}), changes.pop("unread", 5), changes.pop("read", 3))


def test_a_state_comes_back_as_it_was(bundle):
    again = unpack(pack(memory(), bundle), bundle)
    assert (again.unread, again.read) == (5, 3)
    for name, values in memory().arrays.items():
        np.testing.assert_array_equal(again.arrays[name], values)
        assert again.arrays[name].dtype == values.dtype


def test_a_new_text_begins_with_zeros_and_an_empty_window(bundle):
    begun = fresh(bundle, first=2)
    assert begun.arrays["window_words"].tolist() == [0] * L
    assert (begun.unread, begun.read) == (2, 0)


@pytest.mark.parametrize("place", [0, 20, 30, -2], ids=["digest", "count", "array", "end"])
def test_a_damaged_state_is_refused(bundle, place):
    text = pack(memory(), bundle)
    damaged = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 or len(text) :]
    with pytest.raises(InvalidRequest, match="damaged") as caught:
        unpack(damaged, bundle)
    assert caught.value.details["fields"] == ["state"]


@pytest.mark.parametrize(
    "other",
    [language_bundle(name="other"), language_bundle(version=2), language_bundle(graph="1" * 64)],
    ids=["model", "version", "weights"],
)
def test_the_state_of_another_model_is_refused(bundle, other):
    with pytest.raises(InvalidRequest, match="damaged, or of another model or version"):
        unpack(pack(memory(), bundle), other)


@pytest.mark.parametrize("text", ["", "AAAA", "A" * 1000], ids=["empty", "short", "long"])
def test_a_state_of_another_size_is_refused_unread(bundle, text):
    with pytest.raises(InvalidRequest, match="not of this model's size"):
        unpack(text, bundle)


@pytest.mark.parametrize("sign", ["\u00e9", "*", "\n"], ids=["accent", "star", "line end"])
def test_what_is_no_base64_is_refused(bundle, sign):
    text = pack(memory(), bundle)
    with pytest.raises(InvalidRequest, match="not what an answer carried"):
        unpack(text[:10] + sign + text[11:], bundle)


@pytest.mark.parametrize(
    "forged",
    [
        memory(arrays={"hidden": np.full((1, 3), np.nan, np.float32)}),
        memory(arrays={"hidden": np.full((1, 3), 1e30, np.float32)}),
        memory(arrays={"window_words": np.full(L, V)}),
        memory(arrays={"window_words": np.full(L, -1)}),
        memory(unread=0),
        memory(unread=V),
        memory(read=-1),
    ],
    ids=["nan", "huge", "unknown word", "negative word", "padding", "no such word", "count"],
)
def test_a_forged_state_with_a_good_digest_is_refused(bundle, forged):
    with pytest.raises(InvalidRequest, match="it holds"):
        unpack(pack(forged, bundle), bundle)


def test_a_state_is_plain_numbers(bundle):
    content = base64.urlsafe_b64decode(pack(memory(), bundle))
    assert len(content) == completion_state.DIGEST_BYTES + 2 * 8 + 3 * 4 + L * 4
