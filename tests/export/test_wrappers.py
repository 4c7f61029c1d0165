import numpy as np

from export.samples import random_requests
from export.wrappers import EagerSession
from server.contract.tensors import join

SIZES = {"facts": 5, "words": 4, "question_words": 3}


def test_outputs_have_the_names_axes_and_types_of_the_signature(graph):
    requests = random_requests(graph, SIZES, 2, np.random.default_rng(0))
    outputs = EagerSession(graph).run(join(graph.signature.inputs, requests), graph.outputs)
    sizes = {**SIZES, "batch": 2}
    for spec in graph.signature.outputs:
        assert outputs[spec.name].shape == tuple(sizes.get(dim, dim) for dim in spec.dims)
        assert outputs[spec.name].dtype == np.float32


def test_answers_are_probabilities_and_the_last_hop_gives_the_answer(graph):
    requests = random_requests(graph, SIZES, 2, np.random.default_rng(0))
    outputs = EagerSession(graph).run(join(graph.signature.inputs, requests), graph.outputs)
    np.testing.assert_allclose(outputs["hop_probabilities"].sum(-1), 1, atol=1e-5)
    np.testing.assert_array_equal(outputs["hop_probabilities"][:, -1], outputs["answer_probabilities"])


def test_attention_sums_to_one_over_its_axis(graph):
    requests = random_requests(graph, SIZES, 2, np.random.default_rng(0))
    outputs = EagerSession(graph).run(join(graph.signature.inputs, requests), graph.outputs)
    attention = graph.signature.attention
    axis = 1 + attention.axes.index(attention.normalized_over)
    np.testing.assert_allclose(outputs[attention.output].sum(axis), 1, atol=1e-5)
