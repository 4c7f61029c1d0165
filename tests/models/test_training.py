import csv
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from models.checkpoint import Checkpoint, load_checkpoint
from models.recipe import Evaluation
from models.training import Trainer, TrainingOptions, TrainingStopped, learning_rate
from tests.models.builders import recipe

INPUTS, EXAMPLES, BATCH = 3, 21, 7


class Line:
    """A recipe as small as can be: a straight line through noise, with dropout and state of its own."""

    def __init__(self, losses=None, stop_in=None, answers=("a",)):
        self.losses = losses
        self.stop_in = stop_in
        self.answers = list(answers)
        self.seen = 0
        self.begun = 0
        self.evaluations = 0

    def network(self):
        return nn.Sequential(nn.Dropout(0.2), nn.Linear(INPUTS, 1))

    def batches(self, epoch, epochs, rng):
        self.begun += 1
        return EXAMPLES, self._batches(rng)

    def _batches(self, rng):
        for number in range(EXAMPLES // BATCH):
            if self.begun - 1 == self.stop_in and number == 1:
                raise KeyboardInterrupt
            yield torch.from_numpy(rng.normal(size=(BATCH, INPUTS)).astype(np.float32))

    def loss(self, network, batch):
        self.seen += len(batch)
        target = batch.sum(dim=1, keepdim=True) + 0.01 * self.seen
        return (network(batch) - target).square().mean(), len(batch)

    @torch.no_grad()
    def evaluate(self, network):
        network.eval()
        self.evaluations += 1
        loss = float((network(torch.ones(1, INPUTS)) - INPUTS).abs())
        if self.losses is not None:
            loss = self.losses[self.evaluations - 1]
        return Evaluation(loss, error=10 * loss, groups={"a": 10 * loss}, extra={"seen": float(self.seen)})

    def checkpoint(self, network, training, metrics):
        return Checkpoint("line", {}, network.state_dict(), ["x"], self.answers, {}, training, metrics)

    def state(self):
        return {"seen": self.seen}

    def restore(self, state):
        self.seen = state["seen"]


def trainer(folder, made=None, provenance=None, **options):
    defaults = {"epochs": 5, "warmup_steps": 2, "learning_rate": 0.1}
    told = provenance or {"options": defaults | options, "selection": {"source": "sample"}}
    return Trainer(made or Line(), TrainingOptions(**defaults | options), folder, told, quiet=True)


def rows(folder):
    log = list(csv.DictReader(io.StringIO((folder / "log.csv").read_text())))
    return [{name: value for name, value in row.items() if name != "seconds"} for row in log]


def same_weights(one, other):
    ours, theirs = (load_checkpoint(folder / "best.pt").weights for folder in (one, other))
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def stopped(folder, epoch, **options):
    """Run until the middle of an epoch (counted over all starts), as a kill would leave it."""
    with pytest.raises(KeyboardInterrupt):
        trainer(folder, Line(stop_in=epoch), **options).fit()


def test_a_run_leaves_its_four_files(tmp_path):
    best = trainer(tmp_path / "run").fit()
    assert best == tmp_path / "run" / "best.pt"
    assert {path.name for path in best.parent.iterdir()} == {"best.pt", "state.pt", "log.csv", "training.png"}
    assert (best.parent / "training.png").read_bytes().startswith(b"\x89PNG")
    columns = ["start", "epoch", "train_loss", "valid_loss", "valid_error", "seen", "error a"]
    assert list(rows(best.parent)[0]) == columns
    assert [row["epoch"] for row in rows(best.parent)] == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("epoch", [0, 1, 4], ids=["first epoch", "second epoch", "last epoch"])
def test_a_killed_run_ends_as_if_it_had_never_been(epoch, tmp_path):
    trainer(tmp_path / "whole").fit()
    stopped(tmp_path / "killed", epoch)
    trainer(tmp_path / "killed").fit()
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")
    assert same_weights(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.parametrize("epoch", [3, 5, 8], ids=["first of the second", "last of the second", "last of all"])
def test_a_run_killed_in_a_later_start_goes_on_there(epoch, tmp_path):
    trainer(tmp_path / "whole", starts=3, epochs=3).fit()
    stopped(tmp_path / "killed", epoch, starts=3, epochs=3)
    trainer(tmp_path / "killed", starts=3, epochs=3).fit()
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")
    assert same_weights(tmp_path / "killed", tmp_path / "whole")


def test_a_run_killed_after_a_perfect_epoch_still_finishes(tmp_path):
    def made(stop_in=None):
        return Line(losses=[0.0] * 5, stop_in=stop_in)

    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path, made(stop_in=2), target_loss=-1.0).fit()
    trainer(tmp_path, made(), target_loss=-1.0).fit()
    assert [row["epoch"] for row in rows(tmp_path)] == ["1", "2", "3", "4", "5"]


def test_an_epoch_that_was_logged_but_not_saved_is_logged_once(tmp_path):
    trainer(tmp_path / "whole").fit()
    stopped(tmp_path / "killed", 3)
    log = tmp_path / "killed" / "log.csv"
    log.write_text(log.read_text() + "1,4,0.1,9,9,9,9,9\n1,5,0.")
    trainer(tmp_path / "killed").fit()
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")


def test_a_finished_run_is_left_as_it_is(tmp_path):
    trainer(tmp_path).fit()
    before = (tmp_path / "best.pt").read_bytes(), rows(tmp_path)
    trainer(tmp_path).fit()
    assert ((tmp_path / "best.pt").read_bytes(), rows(tmp_path)) == before


def test_a_question_answering_run_resumes_bit_for_bit(tmp_path):
    """Dropout, sampling by error and batches of random order included."""

    def made():
        return recipe(questions_an_epoch=60, gate_supervision=0.3)

    trainer(tmp_path / "whole", made(), epochs=3).fit()
    interrupted = made()
    draw = interrupted.batches
    interrupted.batches = lambda epoch, epochs, rng: draw(epoch, epochs, rng) if epoch < 2 else 1 / 0
    with pytest.raises(ZeroDivisionError):
        trainer(tmp_path / "killed", interrupted, epochs=3).fit()
    trainer(tmp_path / "killed", made(), epochs=3).fit()
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")
    assert same_weights(tmp_path / "killed", tmp_path / "whole")


def test_every_start_begins_fresh(tmp_path):
    trainer(tmp_path / "both", starts=2, epochs=2).fit()
    trainer(tmp_path / "second", seed=2, epochs=2).fit()
    assert [row | {"start": "1"} for row in rows(tmp_path / "both")[2:]] == rows(tmp_path / "second")


def test_the_best_checkpoint_does_not_follow_the_training(tmp_path):
    trainer(
        tmp_path / "short", Line(losses=[3, 1]), epochs=2, learning_rate=0.2, final_learning_rate=0.2
    ).fit()
    kept = trainer(
        tmp_path / "long", Line(losses=[3, 1, 2, 2]), epochs=4, learning_rate=0.2, final_learning_rate=0.2
    )
    kept.fit()
    checkpoint = load_checkpoint(tmp_path / "long" / "best.pt")
    assert checkpoint.training["epoch"] == 2
    assert checkpoint.metrics["validation"]["loss"] == 1
    last = torch.load(tmp_path / "long" / "state.pt", weights_only=True)["network"]
    assert not torch.equal(checkpoint.weights["1.weight"], last["1.weight"])


def test_the_best_start_is_kept(tmp_path):
    trainer(tmp_path, Line(losses=[5, 4, 3, 2, 6, 6]), starts=3, epochs=2).fit()
    training = load_checkpoint(tmp_path / "best.pt").training
    assert (training["start"], training["seed"], training["epoch"]) == (2, 2, 2)


@pytest.mark.parametrize(
    ("options", "losses", "epochs"),
    [
        ({"patience": 2}, [3, 2, 4, 2, 1], 4),
        ({"target_loss": 2.5}, [3, 2, 1, 1, 1], 2),
        ({"starts": 3, "epochs": 2, "good_enough": 20.0}, [9, 9, 2, 9, 1, 1], 4),
    ],
    ids=["patience", "target loss", "good enough"],
)
def test_training_stops_when_it_should(options, losses, epochs, tmp_path):
    trainer(tmp_path, Line(losses=losses), **options).fit()
    assert len(rows(tmp_path)) == epochs


def test_a_loss_that_is_no_number_stops_with_a_hint(tmp_path):
    with pytest.raises(TrainingStopped, match=r"epoch 2 of start 1; a smaller training\.learning_rate"):
        trainer(tmp_path, Line(losses=[1.0, float("nan")])).fit()
    assert len(rows(tmp_path)) == 1


@pytest.mark.parametrize(
    ("made", "options", "reason"),
    [
        (Line(), {"epochs": 6}, "epochs was 5, is 6"),
        (Line(), {"learning_rate": 0.2}, "learning_rate was 0.1, is 0.2"),
        (Line(answers=("a", "b")), {}, "the stories have other words or answers"),
    ],
    ids=["epochs", "learning rate", "data"],
)
def test_a_folder_of_another_run_is_refused(made, options, reason, tmp_path):
    trainer(tmp_path).fit()
    before = (tmp_path / "best.pt").read_bytes()
    with pytest.raises(
        TrainingStopped, match=f"holds another run: {reason}. Choose another folder with --run"
    ):
        trainer(tmp_path, made, **options).fit()
    assert (tmp_path / "best.pt").read_bytes() == before


def test_a_finished_run_may_get_more_starts(tmp_path):
    trainer(tmp_path, epochs=2).fit()
    trainer(tmp_path, epochs=2, starts=2).fit()
    assert [row["start"] for row in rows(tmp_path)] == ["1", "1", "2", "2"]


def test_each_epoch_is_told_with_its_errors_and_the_time_left(tmp_path, capsys):
    told = trainer(tmp_path, Line(losses=[3, 1]), epochs=2)
    told.quiet = False
    told.fit()
    first, second = (line for line in capsys.readouterr().out.splitlines() if line.startswith("start"))
    assert "start 1 epoch 1/2  loss " in first
    assert "valid 3.0000  error 30.00 % (a: 30.0)  0:00:00 gone, 0:00:00 left" in first
    assert "epoch 2/2" in second


def test_a_quiet_run_says_nothing(tmp_path, capsys):
    trainer(tmp_path, epochs=1).fit()
    assert capsys.readouterr() == ("", "")


def test_the_learning_rate_rises_by_step_and_falls_along_half_a_cosine():
    options = TrainingOptions(learning_rate=1.0, final_learning_rate=0.2, warmup_steps=10)
    assert [learning_rate(options, step, 0.0) for step in (0, 4, 9, 99)] == [0.1, 0.5, 1.0, 1.0]
    assert learning_rate(options, 99, 0.5) == pytest.approx(0.6)
    assert learning_rate(options, 99, 1.0) == pytest.approx(0.2)
    falling = [learning_rate(options, 99, share) for share in np.linspace(0, 1, 11)]
    assert falling == sorted(falling, reverse=True)


def test_a_constant_learning_rate_needs_no_warm_up():
    options = TrainingOptions(learning_rate=0.3, final_learning_rate=0.3, warmup_steps=0)
    assert {learning_rate(options, step, step / 9) for step in range(10)} == {0.3}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"starts": 0}, "starts must be at least 1, got 0"),
        ({"patience": -1}, "patience must be at least 0, got -1"),
        ({"clip": 0.0}, r"clip must be above 0, got 0\.0"),
        ({"device": "tpu"}, "device must be cpu, cuda or cuda:NUMBER, got 'tpu'"),
        ({"device": "cuda:99"}, "device 'cuda:99' is not there: torch sees"),
    ],
    ids=["epochs", "starts", "patience", "clip", "unknown device", "missing device"],
)
def test_options_refuse_what_cannot_be_trained_with(wrong, message):
    with pytest.raises(ValueError, match=message):
        TrainingOptions(**wrong)


def test_a_run_can_begin_with_the_weights_of_another(tmp_path):
    first = load_checkpoint(trainer(tmp_path / "first").fit())
    provenance = {"command": "train line --begin-with first"}
    options = TrainingOptions(epochs=1, learning_rate=1e-9, warmup_steps=0)
    second = Trainer(Line(), options, tmp_path / "second", provenance, quiet=True, begin_with=first)
    weights = load_checkpoint(second.fit()).weights
    for name, weight in first.weights.items():
        assert torch.allclose(weights[name], weight, atol=1e-4)


def test_the_weights_of_another_network_are_refused(tmp_path):
    first = load_checkpoint(trainer(tmp_path / "first").fit())
    other = Line(answers=("b",))
    with pytest.raises(TrainingStopped, match="another one: its answers differ"):
        Trainer(other, TrainingOptions(), tmp_path / "second", {}, quiet=True, begin_with=first)


def test_only_what_is_dropped_may_differ_from_the_network_to_begin_with(tmp_path):
    first = load_checkpoint(trainer(tmp_path / "first").fit())

    def begin(**config):
        begin_with = replace(first, config=config)
        Trainer(Line(), TrainingOptions(), tmp_path / "second", {}, quiet=True, begin_with=begin_with)

    begin(dropout=0.1, readout_dropout=0.2)
    with pytest.raises(TrainingStopped, match="another one: its hidden differs"):
        begin(hidden=3)
