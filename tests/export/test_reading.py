"""The reader's graph: what it returns, and that the exported form returns the same."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from export.probes import PROBES
from export.reading import AXES, reading_graph
from export.to_onnx import to_onnx
from export.wrappers import EagerSession
from models.learning import DataChoice
from models.presets import load_preset
from models.reading_learning import ReadingLearning
from models.training import TrainingOptions
from server.contract.bundle import Bundle
from server.contract.manifest import Manifest
from server.contract.tensors import join, sizes_of, split
from server.contract.text import Vocabulary
from server.runtime.onnx_session import OnnxSession
from server.tasks import TASKS

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def checkpoint():
    tables = load_preset("attention_sum_reader", "tiny", ["network.layers=2"])
    plan = ReadingLearning().plan("attention_sum_reader", tables, DataChoice(), TrainingOptions())
    return plan.recipe.checkpoint(plan.recipe.network().eval(), {}, {})


@pytest.fixture(scope="module")
def graph(checkpoint):
    return reading_graph(checkpoint)


@pytest.fixture(scope="module")
def content(graph):
    return to_onnx(graph)


@pytest.fixture(scope="module")
def session(content, tmp_path_factory):
    path = tmp_path_factory.mktemp("reader") / "model.onnx"
    path.write_bytes(content)
    return OnnxSession(path)


def requests(graph):
    sizes = [(1, 1, 1), (13, 5, 3), (7, 1, 2), (2, 11, 5), (60, 3, 9)]
    return graph.draw([dict(zip(AXES, one, strict=True)) for one in sizes], np.random.default_rng(0))


def answers(session, graph, asked):
    specs = graph.signature
    outputs = session.run(join(specs.inputs, asked), graph.outputs)
    return split(specs.outputs, outputs, [sizes_of(specs.inputs, one) for one in asked])


def test_the_exported_graph_answers_as_the_network_in_any_batch(graph, session):
    asked = requests(graph)
    expected = [answers(EagerSession(graph), graph, [one])[0] for one in asked]
    together = answers(session, graph, asked)
    alone = [answers(session, graph, [one])[0] for one in asked]
    for found in (together, alone):
        for ours, theirs in zip(found, expected, strict=True):
            for name in graph.outputs:
                np.testing.assert_allclose(ours[name], theirs[name], atol=TOLERANCE)


def test_attention_and_candidates_sum_to_one_and_padding_gets_nothing(graph, session):
    asked = requests(graph)
    inputs = join(graph.signature.inputs, asked)
    outputs = session.run(inputs, graph.outputs)
    attention, probabilities = outputs["attention"][:, 0], outputs["candidate_probabilities"]
    np.testing.assert_allclose(attention.sum(axis=1), 1, atol=TOLERANCE)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=TOLERANCE)
    assert not attention[inputs["document_tokens"] == 0].any()
    assert not probabilities[inputs["candidates"] == 0].any()


def test_a_candidate_gets_the_attention_of_its_mentions(graph):
    (asked,) = graph.draw([{"tokens": 20, "question_tokens": 4, "candidates": 3}], np.random.default_rng(2))
    (found,) = answers(EagerSession(graph), graph, [asked])
    attention = found["attention"][0]
    sums = np.array([attention[asked["token_candidates"] == number].sum() for number in (1, 2, 3)])
    np.testing.assert_allclose(found["candidate_probabilities"], sums / sums.sum(), atol=TOLERANCE)


def test_every_recurrence_is_one_gru_node_and_nothing_loops(content):
    kinds = [node.op_type for node in onnx.load_from_string(content).graph.node]
    assert kinds.count("GRU") == 8  # two layers, two directions, document and question
    assert not {"Loop", "Scan", "If", "LSTM", "RNN"} & set(kinds)


def test_golden_probes_have_a_word_nobody_knows_and_a_question_without_placeholder(checkpoint, graph):
    manifest = Manifest(
        name="reader",
        task="read",
        family="attention_sum_reader",
        description="",
        graphs={},
        signature=graph.signature,
        limits=checkpoint.limits,
        files={},
    )
    bundle = Bundle(Path(), 1, manifest, Vocabulary.parse(checkpoint.tokenizer.encode()))
    TASKS["read"]().check(bundle)
    probes = PROBES["read"](bundle)
    assert len({len(one["document_tokens"]) for one in probes}) > 2
    assert {2 in one["question_tokens"] for one in probes} == {True, False}
    assert all((one["document_tokens"] >= len(bundle.vocabulary)).any() for one in probes)
