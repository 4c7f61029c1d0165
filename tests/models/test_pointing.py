import numpy as np
import pytest
import torch

from models.checkpoint import load_checkpoint
from models.data.geometry import Instances
from models.families import build
from models.learning import DataChoice
from models.point_learning import TEST_SIZES, PointLearning, PointSelection, held_out
from models.pointing import NOTHING, follow, make_batch
from models.presets import load_preset
from models.training import Trainer, TrainingOptions
from tests.models.pointing_builders import instances, network, recipe


@pytest.mark.parametrize("task", ["convex_hull", "delaunay", "tour"])
def test_few_instances_can_be_learnt_by_heart(task, tmp_path):
    order = "x" if task == "delaunay" else "angle"
    shape = {"hidden": 24, "attention": 16, "order": order, "geometry": True}
    own = recipe(task, tmp_path, shape, {5: 6}, mirror=False)
    torch.manual_seed(1)
    net = own.network()
    optimiser = torch.optim.Adam(net.parameters(), lr=0.02)
    batch = make_batch(own.config, own.train[5])
    for _ in range(120):
        loss, count = own.loss(net, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if float(loss.detach()) < 0.02:
            break
    assert count == 6
    assert follow(net, own.train[5])[1] == 1.0


def test_stop_ends_a_target_and_nothing_follows(tmp_path):
    net = network(task="convex_hull", order="angle")
    batch = make_batch(net.config, instances("convex_hull", {6: 9}, 1, tmp_path)[6])
    for row in batch.targets_BS.tolist():
        end = row.index(0)
        assert all(place > 0 for place in row[:end])
        assert set(row[end + 1 :]) <= {NOTHING}
    assert (batch.kinds_BP[:, 0] == 2).all()


def test_round_trips_are_taught_from_the_point_read_first_on(tmp_path):
    net = network(task="tour", order="angle")
    batch = make_batch(net.config, instances("tour", {7: 5}, 1, tmp_path)[7])
    lowest = batch.points_BP2[..., 1].argmin(dim=1)
    assert (batch.targets_BS[:, 0] == lowest).all()
    assert (batch.targets_BS.sort(dim=1).values == torch.arange(7)).all()


def test_evaluation_has_a_group_for_each_size(tmp_path):
    own = recipe("tour", tmp_path)
    evaluation = own.evaluate(own.network())
    assert evaluation.groups.keys() == {"5", "6"}
    assert evaluation.loss > 0


def test_every_instance_comes_once_an_epoch(tmp_path):
    own = recipe("convex_hull", tmp_path, counts={5: 7, 6: 5}, examples_a_batch=3)
    total, batches = own.batches(0, 1, np.random.default_rng(1))
    sizes = [(len(batch.points_BP2), batch.points_BP2.shape[1] - 1) for batch in batches]
    assert total == 12
    assert sum(count for count, size in sizes if size == 5) == 7
    assert sum(count for count, size in sizes if size == 6) == 5


def test_a_run_leaves_a_checkpoint_that_can_be_built_and_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("ENGRAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(TEST_SIZES, "convex_hull", {4: 7, 6: 3})
    tables = load_preset("pointer_network", "tiny", ["data.instances=60", "data.valid_instances=5"])
    plan = PointLearning().plan("pointer_network", tables, DataChoice(), TrainingOptions())
    assert "convex_hull: 60 training and 20 validation instances of 4 to 8 points" in plan.summary
    options = TrainingOptions(epochs=1, warmup_steps=1)
    best = Trainer(plan.recipe, options, tmp_path / "run", {"command": "train"}, quiet=True).fit()
    checkpoint = load_checkpoint(best)
    assert checkpoint.selector == {"task": "convex_hull"}
    assert checkpoint.limits == {"max_points": 50}
    build(checkpoint)
    table = PointLearning().measure({"run": checkpoint}, DataChoice(tasks="4,6", split="valid"))
    assert [row["points"] for row in table.rows] == [4, 6]


def test_test_and_validation_instances_differ(tmp_path, monkeypatch):
    monkeypatch.setenv("ENGRAM_CACHE", str(tmp_path))
    monkeypatch.setitem(TEST_SIZES["tour"], 5, 3)
    test, valid = (held_out("tour", DataChoice(tasks="5", split=split))[5] for split in ("test", "valid"))
    assert isinstance(test, Instances)
    assert not np.array_equal(test.points_CP2, valid.points_CP2)


@pytest.mark.parametrize(
    "choice", [DataChoice(source="babi"), DataChoice(tasks="3"), DataChoice(tasks="many")]
)
def test_choices_that_points_do_not_have_are_refused(choice):
    with pytest.raises(ValueError, match="points"):
        held_out("tour", choice)


def test_counts_lean_to_larger_instances():
    level, leaning = PointSelection(instances=1000), PointSelection(instances=1000, lean=2.0)
    assert len(set(level.counts().values())) == 1
    assert leaning.counts()[20] > 4 * leaning.counts()[5]
    assert list(PointSelection(smallest=4, largest=8).valid_counts()) == [4, 5, 7, 8]


@pytest.mark.parametrize("wrong", [{"smallest": 3}, {"smallest": 9, "largest": 8}, {"instances": 0}])
def test_selections_that_cannot_be_drawn_are_refused(wrong):
    with pytest.raises(ValueError, match="data"):
        PointSelection(**wrong)
