import json

import numpy as np
import pytest

from server.contract.subwords import END_ID, SPECIAL, Subwords, is_subwords
from server.contract.text import Vocabulary

TEXTS = [
    "Deux hommes en vert attendent près de la gare.",
    "Two men in green wait near the station.",
    "L'été, la gare est vide.",
]
SIZE = 320


@pytest.fixture(scope="module")
def subwords():
    return Subwords.learn(TEXTS * 3, SIZE)


@pytest.mark.parametrize(
    "text",
    [*TEXTS, "Two MEN, one naïve: 日本 😀!", "a [END] of it", "two  blanks", ""],
    ids=["french", "english", "accents", "unseen-letters", "a-special-name", "blanks", "nothing"],
)
def test_what_is_cut_can_be_put_together_again(subwords, text):
    assert subwords.text(subwords.ids(text)) == text


def test_special_ids_cannot_be_written(subwords):
    for name in SPECIAL:
        assert (subwords.ids(name) >= len(SPECIAL)).all()


def test_special_ids_are_left_out_of_a_text(subwords):
    ids = [2, *subwords.ids("the gare"), END_ID, 0]
    assert subwords.text(ids) == "the gare"


def test_frequent_words_become_one_piece(subwords):
    assert len(subwords.ids("gare")) == 1
    assert len(subwords.ids("gare")) < len(subwords.ids("rage"))


def test_each_piece_names_the_part_of_the_text_it_stands_for(subwords):
    text = "Two gares 日"
    pieces = subwords.pieces(text)
    assert len(pieces) == len(subwords.ids(text))
    assert "".join(dict.fromkeys(pieces)) == "Twogares日"


def test_ids_are_within_the_size(subwords):
    assert len(subwords) <= SIZE
    assert subwords.ids(" ".join(TEXTS)).max() < len(subwords)
    assert subwords.ids("a").dtype == np.int64


def test_a_file_reads_back_and_tells_what_it_holds(subwords):
    content = subwords.dump().encode()
    assert is_subwords(content)
    np.testing.assert_array_equal(Subwords.parse(content).ids(TEXTS[0]), subwords.ids(TEXTS[0]))
    assert not is_subwords(Vocabulary.from_words(["gare"]).dump().encode())
    assert not is_subwords(b"{}")
    assert not is_subwords(b"\xff")


def test_another_tokenizer_is_refused(subwords):
    with pytest.raises(ValueError, match="not a tokenizer file"):
        Subwords.parse(b"{}")
    with pytest.raises(ValueError, match="the ids 0 to 3"):
        Subwords.parse(Vocabulary.from_words(["gare"]).dump().encode())
    content = json.loads(subwords.dump())
    with pytest.raises(ValueError, match="put bytes together"):
        Subwords.parse(json.dumps(content | {"decoder": None}).encode())
    token = {"id": 3, "content": "[END]", "special": True, "single_word": False}
    token |= {"lstrip": False, "rstrip": False, "normalized": False}
    with pytest.raises(ValueError, match="could be written in a text"):
        Subwords.parse(json.dumps(content | {"added_tokens": [token]}).encode())
