"""A language model from its checkpoint to HTTP answers: the graph, what is served, and what is measured."""

import asyncio
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from export.completion import completion_graphs
from export.evaluation import MEASURES
from export.graphs import graphs_of
from export.served import Served
from export.verification import open_bundle
from models.checkpoint import load_checkpoint
from models.completion import ids_of, score
from models.data.language import held_out_words
from models.families import build
from models.language_learning import LanguageLearning
from models.learning import DataChoice
from models.presets import load_preset
from models.training import TrainingOptions
from server.tasks.completion_form import CompleteRequest
from tests.end_to_end.serving import served

TINY = Path(__file__).parents[1] / "data" / "language" / "pointer-sentinel-tiny"
FAMILY = "pointer_sentinel_lstm"
TEXT = "Ada walked to the attic. Ben walked to the cellar. Ada"


def small(**shape):
    changes = [f"network.{name}={str(value).lower()}" for name, value in shape.items()]
    tables = load_preset(FAMILY, "tiny", ["network.hidden=10", "network.window=7", *changes])
    torch.manual_seed(1)
    plan = LanguageLearning().plan(FAMILY, tables, DataChoice(), TrainingOptions())
    training = {"options": plan.options, "selection": plan.selection, "data": list(plan.records)}
    return plan.recipe.checkpoint(plan.recipe.network().eval(), training, {})


@pytest.fixture(scope="module")
def checkpoint():
    return load_checkpoint(TINY / "checkpoint.pt")


@pytest.fixture(scope="module")
def bundle():
    return open_bundle(TINY)


def test_the_whole_graph_is_the_step(checkpoint, bundle):
    graphs = graphs_of(checkpoint)
    assert graphs.stages == {"step": graphs.model}
    assert bundle.manifest.graphs["step"] == bundle.manifest.graphs["model"]
    assert bundle.manifest.limits == {"max_text_words": 64, "max_words": 32, "window": 20}


@pytest.mark.parametrize(
    "shape", [{}, {"pointer": False}, {"cutoffs": [5, 9]}], ids=["plain", "control", "adaptive"]
)
def test_probabilities_of_the_graph_are_the_networks(shape):
    made = small(**shape)
    graph, network = completion_graphs(made).model, build(made)
    request = graph.draw([{"words": 5}], np.random.default_rng(3))[0]
    words_1T, *state = (torch.from_numpy(np.asarray(request[name]))[None] for name in graph.inputs)
    with torch.no_grad():
        probabilities_1V, attention_1TL, *_ = graph.module(words_1T, *state)
        output = network(words_1T, type(network.begin(1))(*state))
        for word in range(1, network.config.vocabulary):
            log_p = network.log_probability(output, torch.full_like(words_1T, word))[0, -1]
            assert probabilities_1V[0, word] == pytest.approx(float(log_p.exp()), abs=1e-6)
    assert float(probabilities_1V.sum()) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(attention_1TL.sum(dim=2), 1, atol=1e-5)


def test_random_windows_are_empty_partly_filled_or_full(checkpoint):
    graph = completion_graphs(checkpoint).model
    drawn = graph.draw([{"words": 1}] * 40, np.random.default_rng(1))
    filled = {int((request["window_words"] != 0).sum()) for request in drawn}
    assert {0, 20} < filled


def test_the_served_perplexity_is_the_networks(bundle, checkpoint):
    with Served(bundle) as running:
        measured = MEASURES["complete"](running, DataChoice(), lambda done, total: None)
    words = held_out_words("sample", "test")
    losses = -score(build(checkpoint), ids_of(words, checkpoint.words)).log_probability
    everything = measured.rows[0]
    assert everything["words"] == "all words"
    assert everything["predicted"] == len(words)
    assert everything["perplexity"] == pytest.approx(math.exp(losses.mean()), rel=1e-4)
    assert sum(row["predicted"] for row in measured.rows[1:]) == len(words)
    eager = LanguageLearning().measure({"own": checkpoint}, DataChoice())
    assert [row["words"] for row in eager.rows] == [row["words"] for row in measured.rows]
    assert eager.rows[0]["perplexity"] == pytest.approx(everything["perplexity"], rel=1e-4)


def test_two_checkpoints_are_compared_word_by_word(checkpoint):
    control = small(pointer=False)
    rows = LanguageLearning().measure({"pointer": checkpoint, "control": control}, DataChoice()).rows
    assert list(rows[0]) == ["words", "predicted", "pointer", "control"]


def test_texts_are_continued_alike_alone_and_together(bundle):
    asked = [
        CompleteRequest(" ".join(TEXT.split()[:length]), max_words=5, temperature=1.0, seed=length)
        for length in (1, 3, 9)
    ]
    with Served(bundle) as running:
        together = running.answers(asked)
        alone = [running.answers([request])[0] for request in asked]
    for one, other in zip(together, alone, strict=True):
        assert one.text == other.text
        for mine, theirs in zip(one.words, other.words, strict=True):
            assert mine.probability == pytest.approx(theirs.probability, abs=1e-5)
            np.testing.assert_allclose(mine.attention.weights, theirs.attention.weights, atol=1e-5)


async def test_over_http_words_stream_and_pictures_are_drawn(bundle):
    async with served(bundle.folder.parent) as client:
        body = {"text": TEXT, "max_words": 3}
        whole, streamed, picture = await asyncio.gather(
            client.post("/v1/complete", json=body),
            client.post("/v1/complete", json=body, headers={"Accept": "text/event-stream"}),
            client.post("/v1/complete", json=body, headers={"Accept": "image/svg+xml"}),
        )
        answer = whole.raise_for_status().json()
        again = await client.post("/v1/complete", json={"text": "", "state": answer["state"]})
        broken = await client.post(
            "/v1/complete", json={"text": "", "state": answer["state"][:-8] + "AAAAAAAA"}
        )
        batch = await client.post("/v1/complete/batch", json={"requests": [body, {"text": ""}]})
    frames = [frame.split("\n") for frame in streamed.text.split("\n\n")[:-1]]
    names = [name for name, _ in frames]
    assert names == ["event: word"] * 3 + ["event: done"]
    events = [json.loads(data.removeprefix("data: ")) for _, data in frames]
    assert [event["text"] for event in events[:3]] == [word["text"] for word in answer["words"]]
    assert events[3]["text"] == answer["text"]
    assert answer["words"][0]["attention"]["kind"] == "pointer_mixture"
    assert len(answer["words"][0]["attention"]["weights"]) == 15
    assert picture.text.startswith("<svg")
    assert "sentinel" in picture.text
    assert len(again.raise_for_status().json()["words"]) == 10
    assert broken.status_code == 422
    assert broken.json()["error"]["details"]["fields"] == ["state"]
    good, bad = batch.json()["results"]
    assert good["text"] == answer["text"]
    assert bad["error"]["code"] == "invalid_request"
