import gzip

import pytest

from models.data.language import (
    PUBLISHED,
    TextSelection,
    held_out_words,
    load_corpus,
    read_words,
    sample_words,
)

LINES = [f"Line {number} tells of the harbour.\n" for number in range(20)]


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A folder of data sets with made-up text in the published forms."""
    for name, published in PUBLISHED.items():
        folder = tmp_path / published.folder
        folder.mkdir()
        for split in ("train", "valid", "test"):
            text = f" = {split} of {name} = \n \n a <unk> b \n"
            (folder / (published.files.format(split) + ".gz")).write_bytes(gzip.compress(text.encode()))
    monkeypatch.setenv("ENGRAM_DATA", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("source", PUBLISHED)
def test_published_words_are_taken_as_they_are_with_a_mark_for_every_line(source, data):
    corpus = load_corpus(TextSelection(source), seed=1)
    expected = f"= train of {source} = <eos> <eos> a <unk> b <eos>".split()
    assert corpus.train == expected
    assert corpus.valid == [word.replace("train", "valid") for word in expected]
    assert corpus.style == PUBLISHED[source].style
    assert corpus.record["licence"]
    assert held_out_words(source, "test") == [word.replace("train", "test") for word in expected]


def test_a_missing_part_is_named(data):
    (data / "wikitext-2" / "valid.txt.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"valid\.txt"):
        load_corpus(TextSelection(), seed=1)


def test_plain_text_of_ones_own_is_cut_and_its_end_held_out(tmp_path):
    (tmp_path / "own.txt").write_text("".join(LINES))
    corpus = load_corpus(TextSelection(str(tmp_path / "own.txt")), seed=1)
    assert corpus.train[:8] == ["Line", "0", "tells", "of", "the", "harbour", ".", "<eos>"]
    assert corpus.train.count("<eos>") == 18
    assert corpus.valid[:2] == ["Line", "18"]
    assert corpus.record["name"] == "own.txt"


def test_a_validation_file_of_ones_own_leaves_the_other_whole(tmp_path):
    (tmp_path / "own.txt").write_text("".join(LINES))
    (tmp_path / "valid.txt").write_text("Another line.\n")
    selection = TextSelection(str(tmp_path / "own.txt"), str(tmp_path / "valid.txt"))
    corpus = load_corpus(selection, seed=1)
    assert corpus.train.count("<eos>") == 20
    assert corpus.valid == ["Another", "line", ".", "<eos>"]


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "own.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"own\.txt is not UTF-8 text"):
        load_corpus(TextSelection(str(tmp_path / "own.txt")), seed=1)


def test_too_few_lines_to_hold_any_out_are_refused(tmp_path):
    (tmp_path / "own.txt").write_text("One line.\n")
    with pytest.raises(ValueError, match=r"own\.txt has too few lines"):
        load_corpus(TextSelection(str(tmp_path / "own.txt")), seed=1)


def test_sample_stories_are_running_text_and_fresh_ones_are_held_out():
    words = sample_words(5, seed=1)
    assert words.count("<eos>") == 5
    assert words == sample_words(5, seed=1)
    assert held_out_words("sample", "test") != load_corpus(TextSelection("sample"), 1).valid


def test_line_ends_inside_a_line_are_no_lines(tmp_path):
    path = tmp_path / "test.txt"
    path.write_text("a\u2028b\nc\n")
    assert list(read_words(path)) == ["a", "b", "<eos>", "c", "<eos>"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"valid": "x.txt"}, "'wikitext-2' brings its own validation text"),
        ({"at_least": 0}, "at_least must be at least 1"),
    ],
    ids=["validation file", "frequency"],
)
def test_a_selection_that_makes_no_sense_is_refused(fields, reason):
    with pytest.raises(ValueError, match=reason):
        TextSelection(**fields)
