import json

import numpy as np
import pytest

from benchmarks.closed_loop import Load
from benchmarks.peers.catalogue import PEERS, SERVERS
from benchmarks.peers.forms import ITEMS, PLAIN, V2, Question, sentences
from benchmarks.peers.tables import CELLS, OURS, tables

QUESTION = Question(
    {"story": ["Mary left.", "Ben came."], "question": "Who?"},
    np.array([[2, 3, 0], [4, 5, 0]]),
    np.array([6]),
)
WEIGHTS = [[0.9, 0.1], [0.2, 0.8]]


@pytest.mark.parametrize(
    ("form", "told"),
    [
        pytest.param(PLAIN, {"answer": 1, "attention": WEIGHTS}, id="plain"),
        pytest.param(ITEMS, [{"answer": 1, "attention": WEIGHTS}], id="items"),
        pytest.param(
            V2,
            {
                "outputs": [
                    {"name": "attention", "shape": [1, 2, 2], "data": [0.9, 0.1, 0.2, 0.8]},
                    {"name": "answer", "shape": [1, 1], "data": [1]},
                ]
            },
            id="v2",
        ),
        pytest.param(
            sentences(["garden", "kitchen"]),
            {"answer": "kitchen", "attention": {"weights": WEIGHTS}},
            id="ours",
        ),
    ],
)
def test_every_form_reads_the_same_answer(form, told):
    answer, attention = form.found(json.dumps(told).encode())
    assert answer == 1
    assert attention.tolist() == WEIGHTS


def test_a_v2_request_holds_shapes_and_flat_data():
    story, question = json.loads(V2.body(QUESTION))["inputs"]
    assert (story["shape"], story["data"]) == ([1, 2, 3], [2, 3, 0, 4, 5, 0])
    assert (question["shape"], question["data"]) == ([1, 1], [6])


def test_our_own_request_holds_sentences():
    assert json.loads(sentences([]).body(QUESTION)) == QUESTION.sentences


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_every_peer_is_pinned(peer):
    assert all("==" in requirement for requirement in peer.requirements)


@pytest.mark.parametrize("path", sorted(SERVERS.rglob("*.py")), ids=lambda path: path.stem)
def test_what_peers_read_compiles(path):
    compile(path.read_bytes(), path.name, "exec")


def test_tables_pair_repeats_and_list_the_fastest_first():
    def loads(*throughputs):
        return {cell: [Load(throughput, 1.0, 2.0, 0) for throughput in throughputs] for cell in CELLS}

    first, *_ = tables({"triton": loads(10, 20), OURS: loads(20, 30), "mlserver": loads(0, 0)})
    assert [row[0] for row in first.rows] == [OURS, "triton", "mlserver"]
    assert [row[2] for row in first.rows] == ["", "1.75 (1.50 to 2.00)", ""]
