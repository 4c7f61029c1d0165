import gzip
import json

import numpy as np
import pytest

from models.data.cloze import KINDS
from models.learning import DataChoice
from models.presets import load_preset
from models.reading_learning import ReadingLearning, accuracy_rows, held_out_questions
from models.reading_sources import ReadingSelection, held_out_clozes, load_texts, sample_clozes, some_of_each
from models.training import TrainingOptions
from tests.models.reading_builders import TEXT

LAMBADA = "ada saw ben . ada waved to ben\nada saw ben . ada waved to carl\n"


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Data sets of the project's own text in the published forms."""
    monkeypatch.setenv("ENGRAM_DATA", str(tmp_path))
    for name in ("wikitext-2", "lambada"):
        (tmp_path / name).mkdir()
    lines = [f" = Article {number} = \n" + TEXT * 4 + "\n" for number in range(2)]
    for part in ("train", "valid", "test"):
        with gzip.open(tmp_path / "wikitext-2" / f"{part}.txt.gz", "wt") as file:
            file.writelines(lines)
    with gzip.open(tmp_path / "lambada" / "lambada_development_plain_text.txt.gz", "wt") as file:
        file.write(LAMBADA)
    return tmp_path


def plan(preset, *changes, source="", valid=""):
    tables = load_preset("attention_sum_reader", preset, changes)
    return ReadingLearning().plan(
        "attention_sum_reader", tables, DataChoice(source, valid), TrainingOptions()
    )


def test_the_sample_has_plain_questions_and_clozes():
    made = sample_clozes(20, seed=1)
    assert {"@placeholder" in one.question for one in made} == {True, False}
    assert all(one.answer in one.document for one in made)


def test_wikitext_is_learnt_from_in_passages(data):
    texts = load_texts(ReadingSelection("wikitext"), seed=1)
    assert len(texts.articles) == 2
    assert not texts.train
    few = texts.words(5, 2)
    assert "the" in few
    assert few == sorted(few)
    assert "zorblax" not in texts.words(1000, 2)


def test_a_plan_names_its_data(data):
    made = plan("tiny")
    assert made.records[0]["name"] == "Engram sample stories"
    assert "questions to learn from" in made.summary[0]
    assert made.selection == {"source": "sample"}


def test_files_of_questions_are_learnt_from(tmp_path):
    path = tmp_path / "mine.jsonl"
    fields = ({"document": "Ada saw Ben.", "question": "Who saw Ben?", "answer": "Ada"},) * 4
    path.write_text("".join(json.dumps(line) + "\n" for line in fields))
    made = plan("tiny", "data.at_least=1", source=str(path), valid=str(path))
    assert made.records[0] == {"name": "mine.jsonl", "licence": "not stated", "source": "own data"}
    assert made.summary[0].startswith("4 questions to learn from, 4 validation questions")


def test_lambada_counts_the_passages_that_hold_the_answer_before_the_last_sentence(data):
    trained_on = {"selection": ReadingSelection("sample").plain()}
    questions, title = held_out_questions(trained_on, DataChoice("lambada"))
    assert [one.answer for one in questions] == ["ben"]
    assert title == "LAMBADA development, answer in passage: 1 of 2"


def test_held_out_questions_are_the_same_every_time(data):
    assert held_out_clozes("wikitext", (), "test") == held_out_clozes("wikitext", (), "test")


def test_accuracy_stands_beside_both_baselines():
    questions = sample_clozes(10, seed=3)
    (row, *_) = accuracy_rows(questions, np.ones(len(questions), dtype=np.bool_), {})
    assert row["accuracy %"] == 100
    assert {"count", "most frequent %", "most recent %"} < row.keys()


def test_the_kinds_of_questions_are_names_and_nouns():
    assert KINDS == ("names", "nouns")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source": "babi", "tasks": (1, 17)}, "answers with a word of the story: tasks 1, 2, 3, .*, not 17"),
        ({"source": "mine.jsonl"}, "need a validation file: --valid FILE"),
    ],
    ids=["answer not in the story", "no validation file"],
)
def test_a_selection_that_cannot_be_read_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        ReadingSelection(**fields)


def test_watched_questions_are_drawn_from_throughout_their_group():
    """The first question of every story would be the easiest one."""
    questions = sample_clozes(60, seed=5)
    some = some_of_each(questions, 10)
    groups = {one.group for one in questions}
    assert all(sum(one.group == group for one in some) == 10 for group in groups)
    assert len({questions.index(one) % 5 for one in some}) > 2
    assert some_of_each(questions, 0) == questions
