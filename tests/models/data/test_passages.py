import numpy as np
import pytest

from models.data.cloze import NAME, reading_vocabulary
from models.data.passages import Articles, Windows
from tests.models.reading_builders import rng, sentences

KNOWN = ("the", "to", "mill", "boat", "ada", "ben", "in", "a", "letter", "dog", "of", "said")
SLOTS = 40
CUT = Windows(context=3, ahead=2, questions=4)


@pytest.fixture(scope="module")
def vocabulary():
    return reading_vocabulary(KNOWN)


@pytest.fixture(scope="module")
def articles(vocabulary):
    return Articles([sentences(), sentences()[:6]], vocabulary, SLOTS)


def batches(articles, cut=CUT, size=3, seed=0):
    chance = rng(seed)
    return list(articles.batches(articles.windows(cut, chance), cut, size, chance))


def test_a_window_never_looks_across_two_articles(articles):
    (first, second) = articles.articles
    for seed in range(5):
        for start in articles.windows(CUT, rng(seed)):
            inside = [begin <= start and start + CUT.context < end for begin, end in (first, second)]
            assert sum(inside) == 1


def test_every_answer_stands_in_its_document_and_counts_as_a_rival(articles):
    for batch in batches(articles):
        asked = batch.answer_BM > 0
        assert asked.any(dim=1).all()
        assert batch.mention_BMT[asked].any(dim=-1).all()
        assert not batch.mention_BMT[~asked].any()
        assert (batch.rival_BMT | ~batch.mention_BMT).all()


def test_every_question_has_one_placeholder_and_no_rows_without_words(articles):
    for batch in batches(articles):
        assert ((batch.question_BMQ == 2).sum(dim=-1) == 1).all()
        assert not (batch.document_BT[:, :1] == 0).any()


def test_unknown_words_keep_apart_and_their_slots_change_from_window_to_window(articles, vocabulary):
    slots_of_a_word = {}
    for seed in range(6):
        for batch in batches(articles, seed=seed):
            for ids, words in zip(batch.document_BT.numpy(), batch.word_BT.numpy(), strict=True):
                unknown = ids >= len(vocabulary)
                pairs = set(zip(words[unknown].tolist(), ids[unknown].tolist(), strict=True))
                assert len(pairs) == len({word for word, _ in pairs}) == len({slot for _, slot in pairs})
                for word, slot in pairs:
                    slots_of_a_word.setdefault(word, set()).add(slot)
    assert max(map(len, slots_of_a_word.values())) > 3


def test_known_names_can_be_hidden_behind_slots(articles, vocabulary):
    cut = Windows(context=3, ahead=2, questions=4, anonymised=1.0)
    ada = vocabulary.id_of("ada")
    assert any((batch.document_BT == ada).any() for batch in batches(articles))
    assert not any((batch.document_BT == ada).any() for batch in batches(articles, cut))


def test_a_long_question_keeps_what_is_near_the_placeholder(vocabulary):
    long = " ".join(["so"] * 30) + " to Ada " + " ".join(["so"] * 30)
    text = "The dog saw Ada. It went to Ada. The dog said so. A letter of Ada and " + long
    articles = Articles([sentences(text)], vocabulary, SLOTS)
    cut = Windows(context=3, ahead=1, questions=2, max_question_tokens=12)
    for batch in batches(articles, cut):
        assert batch.question_BMQ.shape[-1] <= 12
        assert (batch.question_BMQ == 2).any(dim=-1).all()


def test_names_are_rivals_of_names(articles):
    kinds = {word: kind for one in sentences() for word, kind in zip(one.words, one.kinds, strict=True)}
    assert kinds["norwich"] == NAME
    batch = batches(articles)[0]
    assert batch.rival_BMT.any(dim=-1).float().mean() > 0
    assert np.array_equal(batch.group_B, np.zeros(len(batch.group_B)))
