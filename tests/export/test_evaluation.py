import dataclasses
from pathlib import Path

import pytest

from export.evaluation import MEASURES, beside_eager_torch
from export.graphs import GRAPHS
from export.measure_stories import story_rows
from export.served import Served
from export.verification import open_bundle
from models.data.sample import sample_stories
from models.data.stories import Example
from models.evaluation import evaluate_checkpoint
from server.errors import BundleError
from server.tasks import TASKS

TINY = Path(__file__).parents[1] / "data" / "model_repository" / "dmn-plus-tiny"


def rows_of(bundle, examples, progress=lambda done: None, **options):
    with Served(bundle, **options) as served:
        return story_rows(served, examples, progress)


@pytest.mark.parametrize("runtime", ["onnx", "torchscript"])
def test_the_served_table_is_the_networks(bundle, checkpoint, runtime):
    examples = [*sample_stories(40, seed=2, facts=5), *sample_stories(40, seed=3, facts=13)]
    rows = rows_of(bundle, examples, runtime=runtime)
    expected = evaluate_checkpoint(checkpoint, examples)
    assert [(row.task, row.questions, row.error) for row in rows] == [
        (row.task, row.questions, row.error) for row in expected
    ]
    for row, wanted in zip(rows, expected, strict=True):
        assert row.gold_recall == pytest.approx(wanted.gold_recall)


def test_a_comparison_finds_how_far_the_served_graph_is_from_the_network(bundle, checkpoint):
    examples = sample_stories(20, seed=2)
    graph = GRAPHS[checkpoint.family](checkpoint)
    differences = {}
    both = rows_of(bundle, examples, open_session=beside_eager_torch(graph, differences))
    assert both == rows_of(bundle, examples)
    assert differences.keys() == {"answer_probabilities", "hop_probabilities", "attention"}
    assert 0 < max(differences.values()) < 1e-5


def test_the_committed_bundle_answers_stories_it_has_not_seen():
    bundle = open_bundle(TINY)
    seen = []
    rows = rows_of(bundle, sample_stories(100, seed=5), seen.append)
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
    rows = rows_of(bundle, examples)
    assert rows[0].questions == 2
    assert rows[0].gold_recall <= 50


def test_every_task_is_measured():
    assert MEASURES.keys() == TASKS.keys()


def test_a_bundle_that_cannot_be_served_is_not_measured(bundle):
    other = dataclasses.replace(bundle, version=7)
    with pytest.raises(BundleError, match=r"7/parity\.json has no checksum"), Served(other):
        pass
