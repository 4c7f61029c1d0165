import json
import re

import pytest
from typer.testing import CliRunner

from models.__main__ import app
from models.checkpoint import load_checkpoint
from models.data.sample import sample_stories
from models.question_answering import QuestionAnsweringRecipe
from models.story_learning import parse_tasks

SMALL = ("--set", "network.hidden=7", "--set", "network.embedding=6", "--epochs", "2")


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "my.jsonl"
    with path.open("w") as lines:
        for example in sample_stories(30, seed=3, facts=3):
            fields = {"story": example.story, "question": example.question, "answer": example.answer}
            lines.write(json.dumps(fields | {"supports": example.supports, "task": example.task}) + "\n")
    return path


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Run a command line; the terminal is wide enough for every message."""
    monkeypatch.chdir(tmp_path)

    def invoke(*words):
        return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200", "TERM": "xterm"})

    return invoke


def test_own_stories_are_trained_on_and_measured(command, data, tmp_path):
    trained = command("train", "dmn_plus", "--preset", "tiny", "--data", data, "--run", "mine", *SMALL)
    assert trained.exit_code == 0, trained.output
    assert "start 1 epoch 2/2  loss " in trained.output
    assert "best checkpoint mine/best.pt, log mine/log.csv, plot mine/training.png" in trained.output
    measured = command("evaluate", "mine", "--json", "--out", "table.json")
    assert measured.exit_code == 0, measured.output
    table = json.loads(measured.stdout)
    assert [row["task"] for row in table["rows"]] == ["person", "thing"]
    assert json.loads((tmp_path / "table.json").read_text()) == table
    assert "the validation stories of my.jsonl" in command("evaluate", "mine").output


def test_the_checkpoint_says_how_to_repeat_it_without_folders(command, data, tmp_path):
    command("train", "dmn_plus", "--preset", "tiny", "--data", data, "--run", "mine", "--seed", "4", *SMALL)
    training = load_checkpoint(tmp_path / "mine" / "best.pt").training
    assert training["command"] == (
        "python -m models train dmn_plus --preset=tiny --data=my.jsonl --epochs=2 --seed=4 --device=cpu "
        "--set=network.hidden=7 --set=network.embedding=6"
    )
    assert training["options"]["seed"] == 4
    assert training["data"] == [{"name": "my.jsonl", "licence": "not stated", "source": "own data"}]


def test_the_default_run_folder_names_family_and_preset(command, tmp_path):
    few = ("--epochs", "1", "--set", "network.hidden=7", "--set", "learning.questions_an_epoch=50")
    assert command("train", "dmn_plus", "--preset", "tiny", *few).exit_code == 0
    assert (tmp_path / "runs" / "dmn_plus-tiny" / "best.pt").exists()


def test_a_stopped_run_says_how_to_go_on(command, data, tmp_path, monkeypatch):
    words = ("train", "dmn_plus", "--preset", "tiny", "--data", data, "--run", "mine", *SMALL)
    draw = QuestionAnsweringRecipe.batches
    pressed = []

    def stop_in_second_epoch(self, epoch, epochs, rng):
        if epoch == 1 and not pressed:
            pressed.append(epoch)
            raise KeyboardInterrupt
        return draw(self, epoch, epochs, rng)

    monkeypatch.setattr(QuestionAnsweringRecipe, "batches", stop_in_second_epoch)
    stopped = command(*words)
    assert stopped.exit_code == 130
    assert "Stopped. Finished epochs are in mine; the same command goes on from there:" in stopped.output
    resumed = command(*words)
    assert resumed.exit_code == 0
    assert "epoch 2/2" in resumed.output
    assert "epoch 1/2" not in resumed.output


def test_a_run_stopped_in_its_first_epoch_begins_anew(command, data, monkeypatch):
    monkeypatch.setattr(
        QuestionAnsweringRecipe, "batches", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    stopped = command("train", "dmn_plus", "--preset", "tiny", "--data", data, "--run", "mine", *SMALL)
    assert stopped.exit_code == 130
    assert "nothing is saved, the same command begins anew" in stopped.output


def test_a_run_folder_of_another_configuration_is_refused(command, data):
    words = ("train", "dmn_plus", "--preset", "tiny", "--data", data, "--run", "mine", *SMALL)
    assert command(*words).exit_code == 0
    other = command(*words, "--set", "network.hidden=8")
    assert other.exit_code == 2
    assert (
        "Error: mine holds another run: hidden was 7, is 8. Choose another folder with --run" in other.output
    )


def test_answers_that_only_the_validation_file_has_are_named(command, data, tmp_path):
    asked = {"story": ["Ada walked there."], "question": "Where is Ada?"}
    lines = [json.dumps(asked | {"answer": answer}) for answer in ("attic", "moon")]
    (tmp_path / "valid.jsonl").write_text("\n".join(lines))
    words = ("train", "dmn_plus", "--preset", "tiny", "--data", data, "--valid", "valid.jsonl", *SMALL)
    assert "validation answers that no training story has count as wrong: moon" in command(*words).output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["oracle"], "there is no family 'oracle'; known: dmn_plus"),
        (["dmn_plus", "--preset", "huge"], "dmn_plus has no preset 'huge'; it has tiny, cpu"),
        (["dmn_plus", "--set", "net.x=1"], "(tables: data, network, learning, training)"),
        (
            ["dmn_plus", "--preset", "tiny", "--set", "network.x=1"],
            "network has no field 'x'; it has embedding",
        ),
        (["dmn_plus", "--set", "learning.x=1"], "learning has no field 'x'; it has gate_supervision"),
        (["dmn_plus", "--preset", "tiny", "--epochs", "0"], "epochs must be at least 1, got 0"),
        (["dmn_plus", "--device", "tpu"], "device must be cpu, cuda or cuda:NUMBER, got 'tpu'"),
        (["dmn_plus", "--tasks", "1,x"], "--tasks: 'x' is neither a task nor a range of tasks"),
        (["dmn_plus", "--data", "no.jsonl"], "there is no file no.jsonl"),
        (["dmn_plus", "--data", "bad.jsonl"], "bad.jsonl, line 1: JSON is malformed"),
        (["dmn_plus", "--data", "one.jsonl"], "a validation split needs at least two stories"),
        (["dmn_plus", "--data", "one.jsonl", "--tasks", "1"], "tasks choose among the bAbI tasks"),
        (["dmn_plus", "--preset", "cpu", "--valid", "one.jsonl"], "--valid goes with --data FILE"),
    ],
    ids=[
        "family",
        "preset",
        "table",
        "network field",
        "learning field",
        "epochs",
        "device",
        "tasks",
        "missing file",
        "broken file",
        "one story",
        "tasks of own data",
        "needless validation file",
    ],
)
def test_a_wrong_command_is_answered_in_one_line(words, message, command, tmp_path):
    (tmp_path / "bad.jsonl").write_text("story")
    (tmp_path / "one.jsonl").write_text('{"story": ["Ada sat."], "question": "Who?", "answer": "Ada"}')
    result = command("train", *words)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "there is no checkpoint nowhere"),
        (["note.txt"], "note.txt is not an Engram checkpoint"),
        (["nowhere", "--split", "train"], "--split is test or valid, not 'train'"),
    ],
    ids=["missing", "no checkpoint", "split"],
)
def test_a_checkpoint_that_cannot_be_measured_is_named(words, message, command, tmp_path):
    (tmp_path / "note.txt").write_text("hello")
    result = command("evaluate", *words)
    assert result.exit_code == 2
    assert result.stderr == f"Error: {message}\n"


def test_families_lists_families_and_presets(command):
    output = command("families").output
    assert "dmn_plus" in output
    assert {"tiny", "cpu", "gpu", "single", "paper"} <= set(re.findall(r"\w+", output))


@pytest.mark.parametrize("name", ["train", "evaluate"])
def test_help_shows_commands_to_copy(name, command):
    output = command(name, "--help").output
    assert f"python -m models {name} " in output
    assert "--data" in output


@pytest.mark.parametrize(
    ("text", "tasks"),
    [("", ()), ("17", (17,)), ("1,2, 16-19", (1, 2, 16, 17, 18, 19)), ("3,1-4", (3, 1, 2, 4))],
    ids=["none", "one", "ranges", "twice"],
)
def test_tasks_are_numbers_and_ranges(text, tasks):
    assert parse_tasks(text) == tasks


@pytest.mark.parametrize("text", [",", "1,", "x", "1-", "-3", "5-3", "0", "19-21", "²"])
def test_other_tasks_are_refused(text):
    with pytest.raises(ValueError, match="--tasks: "):
        parse_tasks(text)
