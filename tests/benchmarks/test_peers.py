import json

import pytest

from benchmarks.closed_loop import Load
from benchmarks.peers.catalogue import PEERS, SERVERS
from benchmarks.peers.forms import ITEMS, PLAIN, V2
from benchmarks.peers.tables import CELLS, OURS, tables

REQUEST = {"story": ["Mary left.", "Ben came."], "question": "Who?"}
ANSWER = {"answer": "Ben", "attention": {"weights": [[0.9, 0.1], [0.2, 0.8]]}}


@pytest.mark.parametrize(
    ("form", "asked", "told"),
    [
        pytest.param(PLAIN, REQUEST, ANSWER, id="plain"),
        pytest.param(ITEMS, {"items": [REQUEST]}, [ANSWER], id="items"),
        pytest.param(
            V2,
            {
                "inputs": [
                    {"name": "request", "datatype": "BYTES", "shape": [1, 1], "data": [json.dumps(REQUEST)]}
                ]
            },
            {"outputs": [{"name": "response", "shape": [1, 1], "data": [json.dumps(ANSWER)]}]},
            id="v2",
        ),
    ],
)
def test_every_form_takes_the_sentences_and_reads_the_whole_answer(form, asked, told):
    assert json.loads(form.body(REQUEST)) == asked
    assert form.answer(json.dumps(told).encode()) == ANSWER


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
