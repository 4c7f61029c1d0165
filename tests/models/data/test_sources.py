import json

import pytest

from models.data.sources import Selection, held_out_examples, load_examples

FACTS = {"1": "Mary is in the garden.", "19": "The garden is north of the kitchen."}


def lines(task, count):
    return "".join(
        f"1 {FACTS[task]}\n2 Story {i} is told.\n3 Is it number {i}?\tyes\t1\n" for i in range(count)
    )


@pytest.fixture(autouse=True)
def babi(tmp_path, monkeypatch):
    folder = tmp_path / "data" / "babi" / "en-valid-10k"
    folder.mkdir(parents=True)
    for task in FACTS:
        for split, count in {"train": 5, "valid": 3, "test": 2}.items():
            (folder / f"qa{task}_{split}.txt").write_text(lines(task, count))
    monkeypatch.setenv("ENGRAM_DATA", str(tmp_path / "data"))


def own_file(tmp_path, name, stories):
    path = tmp_path / name
    record = {"question": "Who ran?", "answer": "Ada"}
    path.write_text("\n".join(json.dumps({"story": [f"Story {i}."]} | record) for i in range(stories)))
    return str(path)


def test_babi_brings_its_own_validation_part():
    examples = load_examples(Selection(tasks=(19, 1)), seed=1)
    assert [example.task for example in examples.train] == ["19"] * 5 + ["1"] * 5
    assert [example.task for example in examples.valid] == ["19"] * 3 + ["1"] * 3
    assert examples.notes == ()


def test_renamed_copies_are_made_and_said_for_chosen_tasks_only():
    selection = Selection(tasks=(1, 19), renamed={"19": 4, "2": 3})
    examples = load_examples(selection, seed=1)
    assert len([example for example in examples.train if example.task == "19"]) > 5
    assert len([example for example in examples.train if example.task == "1"]) == 5
    assert len(examples.valid) == 6
    assert examples.notes == (
        "Training stories were copied with interchangeable names permuted, for tasks 19 (x4).",
    )


def test_own_stories_are_split_by_the_seed(tmp_path):
    selection = Selection(source=own_file(tmp_path, "my.jsonl", 30))
    examples = load_examples(selection, seed=4)
    assert (len(examples.train), len(examples.valid)) == (27, 3)
    assert load_examples(selection, seed=4) == examples
    assert load_examples(selection, seed=5).valid != examples.valid
    assert [record["name"] for record in examples.records] == ["my.jsonl"]


def test_a_validation_file_of_ones_own_is_used_whole(tmp_path):
    selection = Selection(own_file(tmp_path, "my.jsonl", 7), valid=own_file(tmp_path, "valid.jsonl", 3))
    examples = load_examples(selection, seed=1)
    assert (len(examples.train), len(examples.valid)) == (7, 3)


def test_held_out_examples_are_those_asked_for(tmp_path):
    assert len(held_out_examples("babi", (1,), "test")) == 2
    assert len(held_out_examples("babi", (1, 19), "valid")) == 6
    assert len(held_out_examples(own_file(tmp_path, "my.jsonl", 7), (), "test")) == 7
    assert {example.task for example in held_out_examples("sample", (), "test")} == {"person", "thing"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tasks": (0, 20, 21)}, "bAbI has tasks 1 to 20, not 0, 21"),
        (
            {"source": "my.jsonl", "tasks": (1,)},
            "tasks choose among the bAbI tasks, and the data is 'my.jsonl'",
        ),
        ({"source": "sample", "valid": "v.jsonl"}, "'sample' brings its own validation stories"),
        ({"renamed": {"1": 2}}, "names are interchangeable in tasks 2, 3, .*, not in 1"),
    ],
    ids=["no such task", "tasks of own data", "needless validation file", "names that differ"],
)
def test_a_selection_that_says_nothing_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Selection(**fields)


def test_only_what_is_set_is_kept_as_provenance():
    assert Selection(tasks=(17,)).plain() == {"source": "babi", "tasks": (17,)}
