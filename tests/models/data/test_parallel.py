import gzip

import pytest

from models.data.fetch import ARCHIVES, known_digests
from models.data.parallel import Pair, ParallelText, held_out_pairs, load_pairs
from models.data.sample_pairs import sample_pairs

CAPTIONS = {
    "train": [
        ("A  red dog.", "Ein roter Hund.", "Un chien rouge."),
        ("Two dogs.", "Zwei Hunde.", "Deux chiens."),
    ],
    "val": [("A cat.", "Eine Katze.", "Un chat.")],
    "test_2016_flickr": [("A bird.", "Ein Vogel.", "Un oiseau.")],
}


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("ENGRAM_DATA", str(tmp_path))
    raw = tmp_path / "multi30k" / "raw"
    raw.mkdir(parents=True)
    for part, lines in CAPTIONS.items():
        for language, texts in zip(("en", "de", "fr"), zip(*lines, strict=True), strict=True):
            with gzip.open(raw / f"{part}.{language}.gz", "wt", encoding="utf-8") as file:
                file.write("".join(f"{text}\n" for text in texts))
    (tmp_path / "tatoeba-eng-fra").mkdir()
    sentences = [
        f"I see {number}.\t{word} {number}." for number in range(400) for word in ("Je vois", "Je voyais")
    ]
    (tmp_path / "tatoeba-eng-fra" / "eng-fra.txt").write_text("\n".join(sentences) + "\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("languages", "expected"),
    [
        ("en-de", Pair("A red dog.", "Ein roter Hund.")),
        ("en-fr", Pair("A red dog.", "Un chien rouge.")),
        ("fr-en", Pair("Un chien rouge.", "A red dog.")),
    ],
    ids=["to German", "to French", "from French"],
)
def test_captions_are_paired_by_line_with_single_blanks(data, languages, expected):
    pairs = load_pairs(ParallelText("multi30k", languages=languages), seed=1)
    assert pairs.train[0] == expected
    assert len(pairs.train) == 2
    assert len(pairs.valid) == 1
    assert "Multi30k" in pairs.records[0]["name"]


def test_the_test_part_is_not_the_validation_part(data):
    selection = ParallelText("multi30k", languages="en-fr")
    assert held_out_pairs(selection, "test", 1) == [Pair("A bird.", "Un oiseau.")]
    assert held_out_pairs(selection, "valid", 1) == [Pair("A cat.", "Un chat.")]


def test_translations_of_one_sentence_stay_in_one_part(data):
    selection = ParallelText("tatoeba")
    pairs = load_pairs(selection, seed=1)
    parts = [pairs.train, pairs.valid, held_out_pairs(selection, "test", 1)]
    sources = [{pair.source for pair in part} for part in parts]
    assert all(sources)
    assert sum(map(len, sources)) == len(set.union(*sources)) == 400
    assert all(len(part) == 2 * len(own) for part, own in zip(parts, sources, strict=True))


def test_a_number_of_pairs_is_drawn_by_the_seed(data):
    drawn = [load_pairs(ParallelText("tatoeba", pairs=30), seed=seed).train for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 30


def test_own_files_are_a_table_or_two_texts(tmp_path):
    lines = [("One.", "Un."), ("Two.", "Deux.")]
    table, first, second = tmp_path / "pairs.tsv", tmp_path / "text.en", tmp_path / "text.fr"
    table.write_text("".join(f"{one}\t{two}\tmore\n" for one, two in lines), encoding="utf-8")
    first.write_text("One.\nTwo.\n", encoding="utf-8")
    second.write_text("Un.\nDeux.", encoding="utf-8")
    for source in (str(table), f"{first}, {second}"):
        pairs = load_pairs(ParallelText(source, valid=str(table)), seed=1)
        assert pairs.train == pairs.valid == [Pair(*line) for line in lines]


def test_own_files_are_held_out_by_sentence(tmp_path):
    table = tmp_path / "pairs.tsv"
    table.write_text(
        "".join(f"Word {n}!\tMot {n} !\nword {n}\tmot {n}\n" for n in range(300)), encoding="utf-8"
    )
    selection = ParallelText(str(table))
    pairs = load_pairs(selection, seed=1)
    assert len(pairs.train) + len(pairs.valid) == 600
    plain = [{pair.source.casefold().strip("!") for pair in part} for part in (pairs.train, pairs.valid)]
    assert not plain[0] & plain[1]
    assert held_out_pairs(selection, "test", 1) == pairs.valid
    assert len(held_out_pairs(selection, "test", -1)) == 600


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("One.\tUn.\nTwo.\n", r"pairs\.tsv, line 2: expected a sentence, a tab and its translation"),
        ("One.\t\n", r"pairs\.tsv, line 1: expected a sentence"),
    ],
    ids=["no tab", "no translation"],
)
def test_a_line_of_another_form_is_named(tmp_path, content, message):
    (tmp_path / "pairs.tsv").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load_pairs(ParallelText(str(tmp_path / "pairs.tsv")), seed=1)


def test_texts_of_different_length_are_refused(tmp_path):
    (tmp_path / "a").write_text("One.\nTwo.\n", encoding="utf-8")
    (tmp_path / "b").write_text("Un.\n", encoding="utf-8")
    with pytest.raises(ValueError, match="a has 2 lines, b has 1"):
        load_pairs(ParallelText(f"{tmp_path / 'a'},{tmp_path / 'b'}"), seed=1)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_pairs(ParallelText(str(tmp_path / "none.tsv")), seed=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"languages": "en"}, "languages are two that differ, such as en-fr, not 'en'"),
        ({"languages": "de-fr"}, "multi30k has English and de, fr, not 'de-fr'"),
        (
            {"source": "tatoeba", "languages": "en-de"},
            "tatoeba has English and fr, not 'en-de': --tasks en-fr",
        ),
        ({"valid": "more.tsv"}, "'multi30k' brings its own validation pairs"),
    ],
    ids=["one language", "without English", "a language it has not", "validation of its own"],
)
def test_a_choice_that_the_data_does_not_offer_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ParallelText(**options)


def test_the_made_up_language_is_the_same_for_a_seed_and_right():
    pairs = sample_pairs(200, seed=1)
    assert pairs == sample_pairs(200, seed=1) != sample_pairs(200, seed=2)
    said = dict(pairs)
    assert said["The old horse hears three small towers."] == "Tevan vek tri gantii tipin sonda."
    assert said["Does the quiet tower follow the horse?"] == "Ka ganti lune tevann sekut?"
    assert len(said) > 190


def test_every_file_of_multi30k_that_is_fetched_has_its_digest():
    assert known_digests("multi30k").keys() == set(ARCHIVES["multi30k"].keep)


def test_what_nothing_fetches_is_asked_for(monkeypatch):
    monkeypatch.delenv("ENGRAM_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="let ENGRAM_DATA name a folder"):
        load_pairs(ParallelText("tatoeba"), seed=1)
