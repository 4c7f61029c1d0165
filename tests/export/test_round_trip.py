"""From the network to an HTTP answer: what the server says is what eager torch computes."""

import numpy as np
import pytest

from export.wrappers import EagerSession
from server.contract.tensors import join
from server.tasks import TASKS
from tests.end_to_end.serving import served

STORY = [
    "Ada walked to the attic.",
    "Ben walked to the library.",
    "Ada took the lamp.",
    "Ada walked to the market.",
]
QUESTION = "Where is the lamp?"


@pytest.mark.parametrize("runtime", ["onnx", "torchscript"])
async def test_the_server_answers_what_the_network_computes(bundle, graph, runtime):
    async with served(bundle.folder.parent, runtime=runtime) as client:
        body = {"story": STORY, "question": QUESTION, "top_k": 1000}
        answer = (await client.post("/v1/qa", json=body)).raise_for_status().json()
    task = TASKS["qa"]()
    prepared = task.prepare(task.Request(STORY, QUESTION), bundle)
    batch = EagerSession(graph).run(join(graph.signature.inputs, [prepared.arrays]), graph.outputs)
    np.testing.assert_allclose(answer["attention"]["weights"], batch["attention"][0], atol=1e-5)
    answers = bundle.manifest.answers
    for one in answer["alternatives"]:
        expected = batch["answer_probabilities"][0][answers.index(one["answer"])]
        assert one["score"] == pytest.approx(expected, abs=1e-5)
    hops = batch["hop_probabilities"][0]
    assert [one["answer"] for one in answer["hops"]] == [answers[best] for best in hops.argmax(axis=1)]
