import dataclasses
from pathlib import Path

import pytest

from export.evaluation import SideBySide, evaluate_bundle
from export.verification import open_bundle, open_verified
from export.wrappers import GRAPHS, EagerSession
from models.data.sample import sample_stories
from models.data.stories import Example
from models.evaluation import evaluate_checkpoint

TINY = Path(__file__).parents[1] / "data" / "model_repository" / "dmn-plus-tiny"


@pytest.mark.parametrize("runtime", ["onnx", "torchscript"])
def test_the_served_table_is_the_networks(bundle, checkpoint, runtime):
    examples = [*sample_stories(40, seed=2, facts=5), *sample_stories(40, seed=3, facts=13)]
    rows = evaluate_bundle(bundle, open_verified(bundle, runtime), examples)
    expected = evaluate_checkpoint(checkpoint, examples)
    assert [(row.task, row.questions, row.error) for row in rows] == [
        (row.task, row.questions, row.error) for row in expected
    ]
    for row, wanted in zip(rows, expected, strict=True):
        assert row.gold_recall == pytest.approx(wanted.gold_recall)


def test_a_comparison_finds_how_far_the_served_graph_is_from_the_network(bundle, checkpoint):
    examples = sample_stories(20, seed=2)
    graph = GRAPHS[checkpoint.family](checkpoint)
    both = SideBySide(open_verified(bundle, "onnx"), EagerSession(graph))
    assert evaluate_bundle(bundle, both, examples) == evaluate_bundle(
        bundle, open_verified(bundle, "onnx"), examples
    )
    assert both.differences.keys() == {"answer_probabilities", "hop_probabilities", "attention"}
    assert 0 < max(both.differences.values()) < 1e-5
    both.close()


def test_the_committed_bundle_answers_stories_it_has_not_seen():
    bundle = open_bundle(TINY)
    seen = []
    rows = evaluate_bundle(bundle, open_verified(bundle), sample_stories(100, seed=5), seen.append)
    assert seen[-1] == sum(row.questions for row in rows)
    for row in rows:
        assert row.error <= 5
        assert row.gold_recall >= 90


def test_a_story_beyond_the_limit_loses_its_oldest_facts(bundle):
    limit = bundle.manifest.limits["max_facts"]
    story = ("Ada walked to the attic.", *(["Ben walked to the cellar."] * limit))
    examples = [
        Example(story, "Where is Ada?", "attic", (0,)),
        Example(story, "Where is Ben?", "cellar", (1,)),
    ]
    rows = evaluate_bundle(bundle, open_verified(bundle), examples)
    assert rows[0].questions == 2
    assert rows[0].gold_recall <= 50


def test_a_task_without_an_evaluation_is_refused(bundle):
    other = dataclasses.replace(bundle, manifest=bundle.manifest.model_copy(update={"task": "point"}))
    with pytest.raises(ValueError, match="task 'point' has no evaluation"):
        evaluate_bundle(other, open_verified(bundle), sample_stories(1, seed=2))
