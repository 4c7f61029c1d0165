import json

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from models.frequency import bucket_means, draw, gains, main


def test_words_fall_into_buckets_by_rank():
    ids = np.array([1, 2, 3, 3, 11, 12, 102])
    buckets = bucket_means(ids, np.array([7.0, 5.0, 1.0, 2.0, 3.0, 4.0, 6.0]))
    assert [(bucket.label, bucket.words, bucket.mean) for bucket in buckets] == [
        ("unknown word", 1, 7.0),
        ("end of line", 1, 5.0),
        ("rank 1 to 9", 3, 2.0),
        ("rank 10 to 29", 1, 4.0),
        ("rank 100 to 299", 1, 6.0),
    ]


def test_every_word_is_in_exactly_one_bucket():
    ids = np.arange(1, 40_000)
    buckets = bucket_means(ids, np.zeros(len(ids)))
    assert sum(bucket.words for bucket in buckets) == len(ids)
    assert buckets[-1].label == "rank 30,000 and beyond"


def result(**columns):
    rows = [
        {"words": label, "predicted": 10, **{name: values[place] for name, values in columns.items()}}
        for place, label in enumerate(("all words", "rank 1 to 9", "rank 3,000 to 9,999"))
    ]
    return {"measured_on": "made-up text", "rows": rows}


def test_gains_are_differences_of_the_loss():
    found = gains(result(control=[100.0, 10.0, 5000.0], pointer=[80.0, 11.0, 2500.0]))
    assert [label for label, _ in found] == ["all words", "rank 1 to 9", "rank 3,000 to 9,999"]
    np.testing.assert_allclose([gain for _, gain in found], np.log([1.25, 10 / 11, 2.0]))


def test_two_results_are_compared_and_no_other_number():
    with pytest.raises(ValueError, match="two checkpoints are compared, the control first, not 1"):
        gains(result(perplexity=[1.0, 2.0, 3.0]))


def test_the_picture_names_every_bucket(tmp_path):
    draw(result(control=[100.0, 10.0, 5000.0], pointer=[80.0, 11.0, 2500.0]), tmp_path / "gain.svg")
    drawn = (tmp_path / "gain.svg").read_text()
    for text in ("rank 1 to 9", "+0.693", "made-up text", "all words +0.223"):
        assert f"<!-- {text}" in drawn or text in drawn


def test_the_command_says_what_is_wrong_with_a_file(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps(result(perplexity=[1.0, 2.0, 3.0])))
    command = typer.Typer()
    command.command()(main)
    done = CliRunner().invoke(command, [str(tmp_path / "results.json"), str(tmp_path / "gain.svg")])
    assert done.exit_code == 2
    assert "two checkpoints are compared" in done.stderr
