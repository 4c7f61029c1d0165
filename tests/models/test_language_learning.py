import math

import numpy as np
import pytest

from models.language_learning import LanguageLearning, held_out, perplexity_rows
from models.learning import DataChoice
from models.presets import load_preset
from models.training import TrainingOptions

FAMILY = "pointer_sentinel_lstm"
LINES = [f"Line {number} tells of the harbour.\n" for number in range(400)]


@pytest.fixture
def own(tmp_path):
    (tmp_path / "own.txt").write_text("".join(LINES))
    return str(tmp_path / "own.txt")


def plan(*changes, **choice):
    tables = load_preset(FAMILY, "tiny", changes)
    return LanguageLearning().plan(FAMILY, tables, DataChoice(**choice), TrainingOptions())


def test_a_plan_says_what_is_learnt_from(own):
    made = plan("data.at_least=2", source=own)
    assert made.selection == {"source": own, "at_least": 2}
    assert made.records[0]["name"] == "own.txt"
    assert made.options["streams"] == 8
    assert made.summary == ("2,880 training and 320 validation words, 9 word ids",)  # numbers come once


def test_running_text_has_no_parts():
    with pytest.raises(ValueError, match="running text has none"):
        plan(tasks="1")


@pytest.mark.parametrize(
    ("trained_on", "choice", "expected"),
    [
        ("wikitext-2", {}, ("wikitext-2", "test")),
        ("wikitext-2", {"split": "valid"}, ("wikitext-2", "valid")),
        ("wikitext-2", {"source": "ptb"}, ("ptb", "test")),
        ("sample", {}, ("sample", "test")),
        ("own.txt", {"source": "more.txt"}, ("more.txt", "test")),
    ],
    ids=["test", "valid", "another corpus", "sample", "another file"],
)
def test_what_was_held_out_is_what_counts(trained_on, choice, expected):
    training = {"selection": {"source": trained_on}}
    assert held_out(training, DataChoice(**choice)) == expected


@pytest.mark.parametrize(
    ("choice", "reason"),
    [({}, "give --data another file"), ({"source": "sample", "tasks": "1"}, "running text has none")],
    ids=["its own file", "tasks"],
)
def test_text_that_was_learnt_is_no_measure(choice, reason):
    with pytest.raises(ValueError, match=reason):
        held_out({"selection": {"source": "own.txt"}}, DataChoice(**choice))


def test_perplexity_is_given_for_all_words_and_by_frequency():
    ids = np.array([2, 3, 3, 12])
    losses = {"lstm": np.log([2.0, 4.0, 4.0, 8.0]), "pointer": np.log([2.0, 2.0, 2.0, 2.0])}
    rows = perplexity_rows(losses, ids)
    assert [row["words"] for row in rows] == ["all words", "end of line", "rank 1 to 9", "rank 10 to 29"]
    assert [row["predicted"] for row in rows] == [4, 1, 2, 1]
    assert rows[0]["lstm"] == pytest.approx(math.exp(np.log([2, 4, 4, 8]).mean()))
    assert [row["pointer"] for row in rows] == pytest.approx([2.0] * 4)


def test_different_texts_are_not_compared(own):
    checkpoints = {}
    for name, source in {"one": "sample", "other": own}.items():
        made = plan("network.hidden=4", source=source)
        training = {"options": made.options, "selection": made.selection}
        checkpoints[name] = made.recipe.checkpoint(made.recipe.network(), training, {})
    with pytest.raises(ValueError, match=r"another file|different text"):
        LanguageLearning().measure(checkpoints, DataChoice())
