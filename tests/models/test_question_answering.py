import numpy as np
import pytest
import torch

from models.data.stories import Example
from models.dmn_plus import DMNPlusOutput
from models.question_answering import (
    QuestionAnsweringOptions,
    QuestionAnsweringRecipe,
    build_vocabulary,
    gate_loss,
)
from tests.models.builders import recipe

SHAPE = {"embedding": 6, "hidden": 7}


def example(task, number, facts=2):
    story = (*(f"Ada ran {word}." for word in ("far", "home", "away")[: facts - 1]), "Ada sat.")
    return Example(story, f"What now {number}?", f"answer {number % 3}", (0,), task)


def of_tasks(counts, valid=(), **options):
    train = [example(task, number) for task, count in counts.items() for number in range(count)]
    held_out = list(valid) or train[:1]
    return QuestionAnsweringRecipe("dmn_plus", train, held_out, QuestionAnsweringOptions(**options), SHAPE)


def drawn(made, epoch=0, seed=1):
    """Count the questions of one epoch by task."""
    total, batches = made.batches(epoch, 10, np.random.default_rng(seed))
    tasks = np.concatenate([batch.task_B for batch in batches])
    assert len(tasks) == total
    return {task: int((tasks == number).sum()) for number, task in enumerate(made.tasks)}


def test_without_a_number_of_questions_every_example_comes_once():
    assert drawn(of_tasks({"a": 5, "b": 11})) == {"a": 5, "b": 11}


def test_tasks_that_are_often_wrong_are_drawn_more_often():
    made = of_tasks({"a": 5, "b": 11}, questions_an_epoch=4000, floor=0.05, questions_a_batch=512)
    made.task_error.update(a=0.95, b=0.0)
    counts = drawn(made)
    assert sum(counts.values()) == 4000
    assert counts["b"] / 4000 == pytest.approx(0.05 / 1.05, abs=0.015)


def test_no_example_of_a_task_comes_again_before_the_others():
    made = of_tasks({"a": 5}, questions_an_epoch=17)
    _, batches = made.batches(0, 1, np.random.default_rng(1))
    times = np.bincount(np.concatenate([batch.indices for batch in batches]))
    assert sorted(times) == [3, 3, 3, 4, 4]


def test_warm_up_draws_its_tasks_alone():
    made = of_tasks({"a": 5, "b": 7}, questions_an_epoch=40, warmup_tasks=("b",), warmup_epochs=2)
    assert drawn(made, epoch=1) == {"a": 0, "b": 40}
    assert drawn(made, epoch=2)["a"] > 0


def test_warm_up_tasks_that_the_data_lacks_are_passed_over():
    made = of_tasks({"a": 5}, questions_an_epoch=40, warmup_tasks=("b",), warmup_epochs=2)
    assert drawn(made, epoch=0) == {"a": 40}


def test_a_task_of_the_validation_stories_alone_is_never_drawn():
    made = of_tasks({"a": 5}, valid=[example("b", 0)], questions_an_epoch=40)
    assert drawn(made) == {"a": 40, "b": 0}


def test_the_running_error_follows_the_answers():
    made = of_tasks({"a": 5, "b": 7})
    made._count_errors(np.array([0, 0, 1]), np.array([False, False, True]))
    assert made.task_error == {"a": pytest.approx(0.999**2), "b": 1.0}


def test_the_state_is_a_copy_that_restore_takes_back():
    made = of_tasks({"a": 5})
    state = made.state()
    made.task_error["a"] = 0.25
    assert state == {"task_error": {"a": 1.0}}
    made.restore(state)
    made.task_error["a"] = 0.5
    assert state == {"task_error": {"a": 1.0}}


def test_long_stories_come_whole_at_the_end():
    examples = [example("a", number, facts=4) for number in range(3)]
    options = QuestionAnsweringOptions(max_facts=2, long_share=0.2)
    made = QuestionAnsweringRecipe("dmn_plus", examples, examples, options, SHAPE)
    lengths = [
        next(iter(made.batches(epoch, 10, np.random.default_rng(1))[1])).story_BFT.shape[1]
        for epoch in (7, 8)
    ]
    assert lengths == [2, 4]


def test_the_loss_adds_the_supervision_of_the_gates():
    plain, supervised = recipe(gate_supervision=0.0), recipe(gate_supervision=0.5)
    net = plain.network().eval()
    batch = next(iter(plain.batches(0, 1, np.random.default_rng(1))[1]))
    output = net(batch.story_BFT, batch.question_BQ)
    answer_loss, count = plain.loss(net, batch)
    both, _ = supervised.loss(net, batch)
    assert count == len(batch.indices)
    torch.testing.assert_close(both - answer_loss, 0.5 * gate_loss(output, batch.gate_target_BKF))


def test_gate_loss_is_the_mean_cross_entropy_of_the_supervised_hops():
    gate_BKF = torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]], [[0.2, 0.2, 0.6], [1.0, 0.0, 0.0]]])
    log_gate_BKF = gate_BKF.clamp(min=1e-9).log()
    target_BKF = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [[0.5, 0.0, 0.5], [0.0, 0.0, 0.0]]])
    output = DMNPlusOutput(torch.zeros(()), gate_BKF, log_gate_BKF, torch.zeros(()))
    expected = -(np.log(0.5) + np.log(0.8) + 0.5 * np.log(0.2) + 0.5 * np.log(0.6)) / 3
    assert float(gate_loss(output, target_BKF)) == pytest.approx(expected, rel=1e-6)
    assert float(gate_loss(output, torch.zeros_like(target_BKF))) == 0


def test_evaluation_is_by_task_and_leaves_dropout_out():
    made = of_tasks({"a": 5, "b": 7}, valid=[example("a", 0), example("b", 1), example("b", 2)])
    net = made.network().train()
    first, second = made.evaluate(net), made.evaluate(net)
    assert first == second
    assert first.groups.keys() == {"a", "b"}
    assert first.error == pytest.approx(np.mean(list(first.groups.values())))
    assert first.extra.keys() == {"gold_recall"}


def test_an_answer_that_was_never_learnt_is_wrong_and_named_but_has_no_loss():
    unseen = Example(("Ada ran far.",), "What now 1?", "never heard", (), "b")
    made, without = (of_tasks({"a": 5}, valid=[example("a", 0), *more]) for more in ([unseen], []))
    assert made.unseen_answers == ["never heard"]
    net = made.network()
    assert made.evaluate(net).groups["b"] == 100
    assert made.evaluate(net).loss == pytest.approx(without.evaluate(net).loss)
    with pytest.raises(ValueError, match="no validation question has an answer that a training question has"):
        of_tasks({"a": 5}, valid=[unseen])


def test_the_vocabulary_is_that_of_the_training_stories():
    assert build_vocabulary([example("a", 4)]).words == ["4", "ada", "far", "now", "ran", "sat", "what"]


def test_the_checkpoint_describes_what_was_trained():
    made = recipe(serve_max_words=9)
    checkpoint = made.checkpoint(made.network(), {"seed": 3}, {"error": 1.0})
    assert checkpoint.config["vocabulary"] == len(checkpoint.words) + 2
    assert checkpoint.answers == sorted(checkpoint.answers)
    assert checkpoint.limits == {"max_facts": 24, "max_words": 9, "max_question_words": 9}


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ({}, {"serve_max_words": 4}, "a sentence has 5 words, above 4: --set learning.serve_max_words=5"),
        ({}, {"serve_max_facts": 3}, "a story has 4 facts, above 3: --set learning.serve_max_facts=4"),
        (
            {"sentence_encoder": "learned", "max_words": 8},
            {},
            "a sentence of a request has 32 words, above 8: --set network.max_words=32",
        ),
        ({"hiden": 3}, {}, "network has no field 'hiden'; it has embedding, hidden, hops, memory_update"),
    ],
    ids=["words", "facts", "learned encoder", "unknown field"],
)
def test_what_could_not_be_served_or_built_is_refused(shape, options, message):
    with pytest.raises(ValueError, match=message):
        recipe(shape=shape, **options)
