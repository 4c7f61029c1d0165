import pytest

from benchmarks.in_process import InProcess
from server.contract.bundle import Bundle
from tests.server.fakes import WORDS, write_bundle

REQUESTS = [
    {"story": ["Anna went to the garden."] * facts, "question": "Where is Anna?"} for facts in (1, 3, 5, 7)
]


@pytest.fixture
def inside(tmp_path):
    assert "anna" in WORDS
    write_bundle(tmp_path / "tiny")
    return InProcess(Bundle.open(tmp_path / "tiny", 1), REQUESTS)


def test_answers_come_in_order_with_their_own_attention(inside):
    shapes = [answer.attention.weights.shape for answer in inside.answers()]
    assert shapes == [(3, 1), (3, 3), (3, 5), (3, 7)]


@pytest.mark.parametrize("rate", ["run_rate", "answer_rate", "json_rate"])
def test_every_rung_of_the_ceiling_is_measured(inside, rate):
    assert getattr(inside, rate)(batch_size=2, seconds=0.01) > 0
