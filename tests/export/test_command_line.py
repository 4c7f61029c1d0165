import json
import shutil

import pytest

from export import writing
from export.verification import open_bundle
from export.writing import CHECKPOINT
from models.checkpoint import save_checkpoint
from models.data.sample import sample_stories
from server.contract.bundle import read_manifest
from tests.export.small import NAME, engram_export


@pytest.fixture
def folder(bundle, tmp_path):
    return shutil.copytree(bundle.folder, tmp_path / NAME)


@pytest.fixture
def questions(tmp_path):
    """A user's own file of questions."""
    path = tmp_path / "questions.jsonl"
    records = [
        {"story": one.story, "question": one.question, "answer": one.answer, "task": one.task}
        for one in sample_stories(6, seed=4)
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_an_export_prints_its_certificate_and_where_it_is(exported):
    result, folder = exported
    for words in ("parity over", "attention", "torchscript", "model.onnx", f"wrote {folder}"):
        assert words in result.output


def test_an_export_names_and_describes_the_bundle(bundle):
    assert bundle.manifest.description.endswith("trained on Engram sample stories.")
    assert bundle.manifest.default
    assert bundle.manifest.languages == ("en",)


def test_an_existing_bundle_is_not_overwritten(exported):
    _, folder = exported
    run = folder.parents[1] / "run_small"
    result = engram_export(run, "--name", NAME, "--repository", folder.parent)
    assert result.exit_code == 1
    assert "--force replaces it" in result.stderr


def test_a_form_that_is_not_the_network_ends_the_export_with_a_reason(
    checkpoint, bundle, tmp_path, monkeypatch
):
    wrong = {name: weight * 1.01 for name, weight in checkpoint.weights.items()}
    monkeypatch.setattr(writing, "export_forms", lambda *_: {"model": bundle.read(bundle.file("model"))})
    checkpoint = type(checkpoint)(**{**vars(checkpoint), "weights": wrong})
    save_checkpoint(checkpoint, tmp_path / "run" / "best.pt")
    result = engram_export(tmp_path / "run", "--repository", tmp_path / "models", "--no-torchscript")
    assert result.exit_code == 1
    assert "differ by" in result.stderr
    assert "the tolerance is 1e-05" in result.stderr
    assert list(tmp_path.glob("models/*")) == []


def test_rebuild_keeps_what_people_decided_and_what_was_measured(folder, forms, bundle, monkeypatch):
    monkeypatch.setattr(writing, "export_forms", lambda *_: forms)
    monkeypatch.setattr("export.parity.BATCHES", (1, 2))
    monkeypatch.setattr("export.parity.MOST_CELLS", 300)
    old = bundle.manifest.model_copy(update={"metrics": {"test": {"error": 3.0}}})
    writing.write_manifest(folder, old)
    result = engram_export("rebuild", folder)
    assert result.exit_code == 0, result.output
    new = open_bundle(folder).manifest
    for field in ("name", "description", "default", "languages"):
        assert getattr(new, field) == getattr(old, field)
    assert new.metrics["test"] == {"error": 3.0}


def test_rebuild_leaves_a_bundle_without_checkpoint_and_says_what_made_it(folder, bundle):
    (folder / CHECKPOINT).unlink()
    result = engram_export("rebuild", folder)
    assert result.exit_code == 1
    assert "checkpoint.pt" in result.stderr
    assert bundle.manifest.training["command"] in result.stderr
    assert read_manifest(folder) == bundle.manifest


def test_verify_says_that_a_bundle_is_whole(folder):
    result = engram_export("verify", folder)
    assert result.exit_code == 0
    assert "is whole: 7 checksums" in result.output
    assert "onnx and torchscript" in result.output


def test_a_bundle_of_the_repository_may_be_called_by_its_name(folder, monkeypatch):
    (folder.parent / "model_repository").mkdir()
    folder.rename(folder.parent / "model_repository" / NAME)
    monkeypatch.chdir(folder.parent)
    result = engram_export("inspect", NAME)
    assert result.exit_code == 0, result.output
    assert NAME in result.output


def test_verify_refuses_an_altered_bundle(folder):
    (folder / "tokenizer.json").write_text("{}")
    result = engram_export("verify", folder)
    assert result.exit_code == 1
    assert "tokenizer.json was altered" in result.stderr


def test_inspect_prints_signature_limits_and_sizes(folder):
    result = engram_export("inspect", folder)
    assert result.exit_code == 0
    for words in ("story_tokens", "batch, facts, words", "max_facts 19", "episodic_gate", "model.onnx", "kB"):
        assert words in result.output


def test_evaluate_prints_a_table_and_what_has_to_be_said(folder, questions):
    result = engram_export("evaluate", folder, "--data", questions)
    assert result.exit_code == 0, result.output
    for words in ("person", "mean", "error %", "It was not trained."):
        assert words in result.output


def test_evaluate_as_json_prints_nothing_else_and_can_be_kept(folder, questions):
    result = engram_export("evaluate", folder, "--data", questions, "--json", "--write")
    record = json.loads(result.stdout)
    assert record["measured_on"] == "all of questions.jsonl"
    assert record["measured_by"] == "the server's task on onnx, CPU"
    assert {row["task"] for row in record["rows"]} == {"person", "thing"}
    kept = open_bundle(folder).manifest
    assert kept.metrics["test"] == record
    assert kept.metrics["validation"] == {"error": 50.0}


def test_evaluate_takes_what_the_network_was_trained_on_by_default(folder):
    result = engram_export("evaluate", folder, "--runtime", "torchscript")
    assert result.exit_code == 0, result.output
    assert "fresh sample stories" in result.output


@pytest.mark.parametrize(
    ("option", "value"),
    [("--split", "train"), ("--runtime", "magic"), ("--data", "missing.jsonl"), ("--tasks", "21")],
)
def test_evaluate_refuses_what_does_not_exist(folder, option, value):
    result = engram_export("evaluate", folder, option, value)
    assert result.exit_code == 1
    assert value in result.stderr


def test_help_names_every_command():
    result = engram_export("--help")
    for command in ("bundle", "rebuild", "evaluate", "verify", "inspect"):
        assert command in result.output
