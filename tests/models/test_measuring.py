import numpy as np
import pytest
import torch

from models.measuring import gold_recall, run
from tests.models.builders import recipe


def gates(*rows):
    return np.array(rows, dtype=np.float32)


@pytest.mark.parametrize(
    ("gate_KF", "gold", "share"),
    [
        (gates([0.1, 0.7, 0.2], [0.6, 0.2, 0.2]), (0, 1), 100),
        (gates([0.1, 0.7, 0.2], [0.1, 0.2, 0.7]), (0, 1), 50),
        (gates([0.1, 0.7, 0.2]), (2,), 0),
        (gates([0.1, 0.7, 0.2]), (1, 1), 100),
    ],
    ids=["in different hops", "one of two", "none", "named twice"],
)
def test_gold_facts_are_looked_for_among_the_largest_gates(gate_KF, gold, share):
    assert gold_recall([gate_KF], [gold]) == share


def test_only_questions_with_gold_facts_count():
    gate_KF = gates([0.1, 0.9])
    assert gold_recall([gate_KF, gate_KF], [(), (1,)]) == 100
    assert gold_recall([gate_KF], [()]) is None


def test_results_stand_in_the_order_of_the_examples():
    made = recipe()
    net = made.network()
    results = run(net, made.held_out, made.config.hops)
    for index in range(0, len(made.held_out), 5):
        alone = made.held_out.batch(np.array([index]), made.config.hops)
        with torch.no_grad():
            output = net(alone.story_BFT, alone.question_BQ)
        np.testing.assert_allclose(results.gates[index], output.gate_BKF[0].numpy(), atol=1e-5)
        answer = int(output.hop_logits_BKA[0, -1].argmax())
        assert results.wrong[index] == (answer != made.held_out.answers[index])
        log_p = output.hop_logits_BKA[0, -1].log_softmax(dim=-1)[made.held_out.answers[index]]
        assert results.loss[index] == pytest.approx(-float(log_p), abs=1e-5)
