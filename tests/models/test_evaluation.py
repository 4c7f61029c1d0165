import json

import numpy as np
import pytest
from rich.console import Console

from models.checkpoint import load_checkpoints, save_checkpoint
from models.data.stories import Example
from models.evaluation import TaskRow, evaluate_checkpoints, mean_row, tabulate
from models.question_answering import QuestionAnsweringOptions, QuestionAnsweringRecipe

FACTS = {1: "Mary is in the garden.", 19: "The garden is north of the kitchen."}
SEED = 5


@pytest.fixture(autouse=True)
def babi(tmp_path, monkeypatch):
    """The test questions of tasks 1 and 19, three each; the answers that nobody can know are wrong."""
    folder = tmp_path / "data" / "babi" / "en-valid-10k"
    folder.mkdir(parents=True)
    for task, fact in FACTS.items():
        text = "".join(
            f"1 {fact}\n2 Where is it?\t{answer}\t1\n" for answer in ("here", "here", "unheard-of")
        )
        for split in ("valid", "test"):
            (folder / f"qa{task}_{split}.txt").write_text(text)
    monkeypatch.setenv("ENGRAM_DATA", str(tmp_path / "data"))


def trained(folder, examples, selection, notes=()):
    """Save an untrained checkpoint that says it was trained on a selection."""
    shape = {"embedding": 6, "hidden": 7}
    made = QuestionAnsweringRecipe("dmn_plus", examples, examples, QuestionAnsweringOptions(), shape)
    told = {
        "selection": selection,
        "options": {"seed": SEED},
        "command": f"train {folder.name}",
        "notes": list(notes),
    }
    save_checkpoint(made.checkpoint(made.network(), told, {}), folder / "best.pt")
    return folder


def on_babi(folder, *tasks, notes=()):
    examples = [Example((FACTS[task],), "Where is it?", "here", (0,), str(task)) for task in tasks]
    return trained(folder, examples, {"source": "babi", "tasks": tasks}, notes)


def own_file(path, stories):
    lines = [
        {"story": [f"Story {i} is told."], "question": "Is it?", "answer": "yes"} for i in range(stories)
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def evaluated(paths, *choice, **more):
    return evaluate_checkpoints(load_checkpoints(paths), *choice, **more)


def test_a_checkpoint_is_measured_on_the_tasks_it_was_trained_on(tmp_path):
    report = evaluated([on_babi(tmp_path / "one", 1)])
    assert report.measured_on == "bAbI test"
    assert report.rows == [TaskRow("1", 3, pytest.approx(100 / 3), 100.0)]


def test_checkpoints_of_single_tasks_join_to_one_table(tmp_path):
    folders = [
        on_babi(tmp_path / "late", 19, notes=["a note"]),
        on_babi(tmp_path / "early", 1, notes=["a note"]),
    ]
    report = evaluated([folders[0], folders[1] / "best.pt"], split="valid")
    assert report.measured_on == "bAbI valid"
    assert [row.task for row in report.rows] == ["1", "19"]
    assert report.answered_by == {"1": str(folders[1] / "best.pt"), "19": str(folders[0])}
    assert report.notes == ["a note"]
    plain = json.loads(json.dumps(report.plain()))
    assert plain["mean"]["questions"] == 6
    assert plain["failed"] == ["1", "19"]
    assert [row["checkpoint"] for row in plain["rows"]] == [str(folders[1] / "best.pt"), str(folders[0])]
    assert plain["commands"][str(folders[0])] == "train late"
    assert plain["date"]


def test_the_table_shows_tasks_mean_and_notes(tmp_path, capsys):
    report = evaluated([on_babi(tmp_path / "a", 1, notes=["a note"]), on_babi(tmp_path / "b", 19)])
    report.show(Console(width=120))
    lines = [" ".join(line.replace("│", " ").split()) for line in capsys.readouterr().out.splitlines()]
    assert any(line.startswith("1 single supporting fact 3 33.33 100.0 ") for line in lines)
    assert any(line.startswith("19 path finding 3 33.33 100.0 ") for line in lines)
    assert "mean 6 33.33 100.0" in lines
    assert lines[-2:] == ["above 5 % error: 1, 19", "a note"]


def test_chosen_tasks_are_those_among_the_trained_ones(tmp_path):
    report = evaluated([on_babi(tmp_path / "both", 1, 19)], tasks=(19, 20))
    assert [row.task for row in report.rows] == ["19"]


def test_own_stories_are_measured_on_the_held_out_ones(tmp_path):
    path = own_file(tmp_path / "my.jsonl", 30)
    examples = [Example(("Story 1 is told.",), "Is it?", "yes")]
    folder = trained(tmp_path / "mine", examples, {"source": str(path)})
    for data in ("", str(path)):
        report = evaluated([folder], data)
        assert report.measured_on == "the validation stories of my.jsonl"
        assert [row.questions for row in report.rows] == [3]
    other = evaluated([folder], str(own_file(tmp_path / "more.jsonl", 7)))
    assert (other.measured_on, other.rows[0].questions) == ("all of more.jsonl", 7)


def test_sample_stories_are_fresh_for_the_test(tmp_path):
    examples = [Example(("Ada walked to the attic.",), "Where is Ada?", "attic", (0,), "person")]
    report = evaluated([trained(tmp_path / "tiny", examples, {"source": "sample"})])
    assert report.measured_on == "fresh sample stories"
    assert [row.task for row in report.rows] == ["person", "thing"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": (19,)}, "it was trained on bAbI task 1 only"),
        ({"data": "sample", "tasks": (1,)}, "--tasks chooses among the bAbI tasks, and the data is 'sample'"),
        ({"data": "sample", "split": "valid"}, "it was not trained on sample, so no part of it is held out"),
    ],
    ids=["another task", "tasks of other data", "validation part of other data"],
)
def test_what_cannot_be_measured_is_refused_with_the_checkpoints_name(arguments, message, tmp_path):
    folder = on_babi(tmp_path / "one", 1)
    with pytest.raises(ValueError, match=f"one: {message}"):
        evaluated([folder], **arguments)


def test_own_stories_have_no_test_part(tmp_path):
    path = own_file(tmp_path / "my.jsonl", 30)
    folder = trained(tmp_path / "mine", [Example(("Ada ran.",), "Is it?", "yes")], {"source": str(path)})
    with pytest.raises(ValueError, match=r"my\.jsonl has no test questions: use --split valid"):
        evaluated([folder], split="test")


def test_two_answers_to_one_task_are_refused(tmp_path):
    with pytest.raises(ValueError, match="both answer task 1"):
        evaluated([on_babi(tmp_path / "a", 1), on_babi(tmp_path / "b", 1, 19)])


def test_a_run_without_a_checkpoint_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"there is no checkpoint .*empty/best\.pt"):
        evaluated([tmp_path / "empty"])


def test_rows_count_by_task_and_the_mean_weighs_tasks_alike():
    def asked(task, *supports):
        return Example(("Ada ran.", "Ben sat."), "Who?", "Ada", supports, task)

    examples = [asked("b", 0), asked("a"), asked("b", 1), asked("b", 0)]
    first = np.array([[0.9, 0.1]], dtype=np.float32)
    rows = tabulate(examples, [True, False, False, False], [first] * 4)
    assert rows == [
        TaskRow("b", 3, pytest.approx(100 / 3), pytest.approx(200 / 3)),
        TaskRow("a", 1, 0.0, None),
    ]
    assert mean_row(rows) == TaskRow("mean", 4, pytest.approx(50 / 3), pytest.approx(200 / 3))
    assert mean_row(rows[1:]).gold_recall is None
