import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.contract.text import CACHED_LENGTH, MANY_WORDS, UNKNOWN_ID, Vocabulary, split_sentences
from tests.server.fakes import WORDS

VOCABULARY = Vocabulary.from_words([*WORDS, "café"])


def test_words_get_ids_after_the_two_special_ones_in_the_order_given():
    assert VOCABULARY.ids("anna ben took").tolist() == [2, 3, 4]
    assert VOCABULARY.words == [*WORDS, "café"]
    assert len(VOCABULARY) == len(WORDS) + 3


@pytest.mark.parametrize(
    "sentence",
    ["Anna took the milk.", " anna  took the\tmilk", 'ANNA, took (the) "milk"!?', "Anna.took;the:milk"],
    ids=["plain", "blanks", "punctuation", "punctuation-between-words"],
)
def test_case_blanks_and_punctuation_do_not_matter(sentence):
    assert VOCABULARY.ids(sentence).tolist() == VOCABULARY.ids("anna took the milk").tolist()


def test_composed_and_decomposed_letters_are_the_same():
    assert VOCABULARY.ids("cafe\u0301").tolist() == VOCABULARY.ids("caf\u00e9").tolist() != [UNKNOWN_ID]


def test_special_tokens_cannot_be_written_in_a_text():
    assert VOCABULARY.ids("[PAD] [UNK] [pad]").tolist() == [UNKNOWN_ID] * 3


def test_a_sentence_without_words_has_no_ids():
    assert VOCABULARY.ids(" ...!? ").tolist() == []


def test_ids_are_kept_and_cannot_be_changed():
    sentence = "anna took the milk"
    ids = VOCABULARY.ids(sentence)
    assert VOCABULARY.packed([sentence])[0] is VOCABULARY.packed([sentence])[0]
    with pytest.raises(ValueError, match="read-only"):
        ids[0] = 0


def test_long_sentences_are_read_and_not_kept():
    sentence = "milk " * CACHED_LENGTH
    assert VOCABULARY.ids(sentence).tolist() == VOCABULARY.ids("milk").tolist() * CACHED_LENGTH
    assert VOCABULARY.packed([sentence])[0] is not VOCABULARY.packed([sentence])[0]


def test_unknown_words_are_listed_once_in_order():
    assert VOCABULARY.unknown("Zoe took the Zebra, zoe!") == ["zoe", "zebra"]
    assert VOCABULARY.unknown("Anna took the milk.") == []


def test_nearest_words_come_best_first():
    assert VOCABULARY.nearest("gardn")[0] == "garden"
    assert VOCABULARY.nearest("qqqq") == []
    assert VOCABULARY.nearest("x" * 10_000) == []


def test_in_a_large_vocabulary_near_words_begin_alike():
    many = Vocabulary.from_words([*WORDS, *(f"x{number}" for number in range(MANY_WORDS))])
    assert many.nearest("gardn")[0] == "garden"
    assert many.nearest("harden") == []


@given(st.text(max_size=60))
def test_any_text_gives_as_many_ids_as_words_and_unknown_ones_are_the_unknown_id(text):
    words, ids = VOCABULARY.split(text), VOCABULARY.ids(text).tolist()
    assert len(ids) == len(words)
    unknown = set(VOCABULARY.unknown(text))
    assert [id_ == UNKNOWN_ID for id_ in ids] == [word in unknown for word in words]


def test_a_saved_vocabulary_reads_the_same(tmp_path):
    VOCABULARY.save(tmp_path / "tokenizer.json")
    loaded = Vocabulary.load(tmp_path / "tokenizer.json")
    assert loaded.words == VOCABULARY.words
    assert loaded.ids("Anna took the zebra.").tolist() == VOCABULARY.ids("Anna took the zebra.").tolist()


@pytest.mark.parametrize(
    ("words", "reason"),
    [(["milk", "milk"], "twice"), (["[PAD]"], "twice"), (["Milk"], "normalised"), (["a b"], "normalised")],
    ids=["repeated", "special", "upper-case", "two-words"],
)
def test_words_that_could_never_be_found_are_refused(words, reason):
    with pytest.raises(ValueError, match=reason):
        Vocabulary.from_words(words)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b'{"version":"1.0","model":{"type":"WordLevel","vocab":{"a":0},"unk_token":"a"}}',
        b'{"version":"1.0","model":{"type":"WordLevel","vocab":{"[PAD]":0,"[UNK]":1},"unk_token":"[UNK]"}}',
    ],
    ids=["empty", "no-model", "other-special-tokens", "no-normaliser"],
)
def test_a_file_that_is_no_vocabulary_of_ours_is_refused(content):
    with pytest.raises(ValueError, match="token"):
        Vocabulary.parse(content)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Anna left. Ben came!  Who stayed?", ["Anna left.", "Ben came!", "Who stayed?"]),
        ("anna left\nben came\n\n", ["anna left", "ben came"]),
        ("Anna left... Ben came ?! ", ["Anna left...", "Ben came ?!"]),
        ("It cost 3.50 there.", ["It cost 3.50 there."]),
        (" ...\n !", []),
        ("", []),
    ],
    ids=["marks", "lines", "repeated-marks", "mark-inside", "only-marks", "empty"],
)
def test_a_text_is_split_into_sentences(text, sentences):
    assert split_sentences(text) == sentences


@given(st.lists(st.sampled_from(["Anna left.", "Ben came!", "Who?"]), max_size=8))
def test_joined_sentences_split_back(sentences):
    assert split_sentences(" ".join(sentences)) == sentences == split_sentences("\n".join(sentences))


def test_words_keep_their_places_in_the_text_as_it_was_given():
    vocabulary = Vocabulary.from_words(["caf\u00e9", "the"])
    text = "The  cafe\u0301, (Lune\u0301)."
    assert vocabulary.spans(text) == [("the", 0, 3), ("caf\u00e9", 5, 10), ("lun\u00e9", 13, 18)]
    assert text[13:18] == "Lune\u0301"


def test_a_dumped_vocabulary_is_the_same_again():
    vocabulary = Vocabulary.from_words(["caf\u00e9", "the"])
    again = Vocabulary.parse(vocabulary.dump().encode())
    assert again.words == vocabulary.words
    assert (again.id_of("the"), again.id_of("nowhere")) == (3, None)
