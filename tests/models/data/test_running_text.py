import pytest

from models.data.running_text import by_frequency, cut, tokenizer

RAW = [
    ("Ada's well-known ship sailed.", "Ada 's well @-@ known ship sailed ."),
    ("It cost $1,234.50, or 20%.", "It cost $ 1 @,@ 234 @.@ 50 , or 20 % ."),
    ('Ben said: "No!"', 'Ben said : " No ! "'),
    ("The sailors' union (in Lisbon) waited...", "The sailors ' union ( in Lisbon ) waited ..."),
    ("Mr. Stone met J. Hill in the U.S. navy.", "Mr. Stone met J. Hill in the U.S. navy ."),
    ("She didn\u2019t sing \u201caloud\u201d.", 'She didn \'t sing " aloud " .'),
    ("One line.\nAnother", "One line . <eos> Another"),
    ("the 1,000th ship", "the 1,000th ship"),
]


@pytest.mark.parametrize(("raw", "words"), RAW, ids=lambda value: value.split()[0])
def test_raw_text_is_cut_as_wikitext_is(raw, words):
    assert cut(raw, "wikitext") == words.split()


@pytest.mark.parametrize("words", [words for _, words in RAW], ids=lambda value: value.split()[0])
def test_text_that_is_cut_already_stays_as_it_is(words):
    assert cut(words, "wikitext") == words.split()


def test_raw_text_is_cut_as_the_penn_treebank_is():
    raw = "Mr. Stone didn't pay $1,200, he said: \"It's 5 or 7.\"\nDone."
    expected = "mr. stone did n't pay $ N he said it 's N or N <eos> done"
    assert " ".join(cut(raw, "ptb")) == expected
    treebank = "mr. <unk> is chairman of <unk> n.v. and did n't pay $ N a share"
    assert cut(treebank, "ptb") == treebank.split()


def test_words_are_ordered_by_frequency_with_the_end_of_line_first():
    assert by_frequency([*"ba", "<eos>", "<unk>", *"bcab", "<unk>"]) == ["<eos>", "b", "a", "c"]
    assert by_frequency([*"ba", "<eos>", *"bcab"], at_least=2) == ["<eos>", "b", "a"]


def test_a_tokenizer_gives_ids_and_reads_what_it_does_not_know_as_unknown():
    made = tokenizer(["<eos>", "Ada", "."], "wikitext")
    assert made.encode("Ada sailed. <unk>\n").ids == [3, 1, 4, 1, 2]


def test_a_word_that_comes_twice_is_refused():
    with pytest.raises(ValueError, match="a word comes twice"):
        tokenizer(["a", "a"], "wikitext")
