"""Driving a step graph greedily in eager torch."""

import numpy as np
import pytest
import torch

from export.greedy import LENGTHS, MOST_WALKED, SCORES, is_certain
from export.samples import draw, example, random_requests
from export.wrappers import EagerSession
from server.contract.tensors import join, sizes_of
from tests.export.stepwise import END, HIDDEN, IDS, MOST, stepwise_graphs

SIZES = {"source_tokens": 5}


def decoded(graphs, requests):
    graph = graphs.model
    return EagerSession(graph).run(join(graph.signature.inputs, requests), graph.outputs)


def drawn(graphs, count, seed=3):
    return random_requests(graphs.model, SIZES, count, np.random.default_rng(seed))


def test_the_whole_takes_what_nobody_makes_and_returns_every_step():
    signature = stepwise_graphs().model.signature
    assert [spec.name for spec in signature.inputs] == ["source_tokens"]
    outputs = {spec.name: spec.dims for spec in signature.outputs}
    assert outputs == {
        "tokens": ("batch", "steps"),
        SCORES: ("batch", "steps"),
        "attention": ("batch", "steps", "source_tokens"),
        LENGTHS: ("batch",),
    }


def test_every_choice_is_the_best_of_its_step_and_is_fed_to_the_next():
    graphs = stepwise_graphs()
    encoder, step = graphs.stages["encoder"], graphs.stages["step"]
    [request] = drawn(graphs, 1)
    outputs = decoded(graphs, [request])
    known = EagerSession(encoder).run(join(encoder.signature.inputs, [request]), encoder.outputs)
    known["previous_token"] = np.array([graphs.greedy.start])
    for place in range(outputs[LENGTHS][0]):
        made = EagerSession(step).run({name: known[name] for name in step.inputs}, step.outputs)
        best = made["log_probabilities"][0].argmax()
        assert outputs["tokens"][0, place] == best
        assert outputs[SCORES][0, place] == made["log_probabilities"][0, best]
        np.testing.assert_array_equal(outputs["attention"][0, place], made["attention"][0])
        known |= {"state": made["next_state"], "previous_token": np.array([best])}


def test_a_row_ends_with_its_end_or_its_most_steps():
    graphs = stepwise_graphs()
    requests = drawn(graphs, 40)
    outputs = decoded(graphs, requests)
    ended = set()
    for tokens, length, request in zip(outputs["tokens"], outputs[LENGTHS], requests, strict=True):
        places = np.flatnonzero(tokens[:length] == END)
        most = 2 * int((request["source_tokens"] != 0).sum())
        assert length <= most
        assert length == (places[0] + 1 if places.size else most)
        ended.add(bool(places.size))
    assert ended == {True, False}


def test_a_number_of_steps_may_bound_every_row():
    graphs = stepwise_graphs(most=MOST, end=None)
    assert (decoded(graphs, drawn(graphs, 5))[LENGTHS] == MOST).all()


def test_what_comes_after_the_end_of_a_row_is_zero():
    graphs = stepwise_graphs()
    outputs = decoded(graphs, drawn(graphs, 20))
    assert len(set(outputs[LENGTHS])) > 1
    for name in ("tokens", SCORES, "attention"):
        for row, length in zip(outputs[name], outputs[LENGTHS], strict=True):
            assert not row[length:].any()


def test_a_row_is_the_same_alone_and_in_a_batch():
    graphs = stepwise_graphs()
    requests = drawn(graphs, 7)
    together = decoded(graphs, requests)
    for row, request in enumerate(requests):
        alone = decoded(graphs, [request])
        length = alone[LENGTHS][0]
        assert together[LENGTHS][row] == length
        np.testing.assert_array_equal(together["tokens"][row, :length], alone["tokens"][0])


def test_forced_choices_are_followed():
    graphs = stepwise_graphs()
    inputs = torch.tensor(drawn(graphs, 1)[0]["source_tokens"])[None]
    decoder = graphs.model.module
    forced = decoder.decode(inputs, forced_BS=torch.tensor([[4, 3, END]])).outputs
    assert forced["tokens"].tolist() == [[4, 3, END]]
    assert forced[SCORES][0, 0] < decoder.decode(inputs).outputs[SCORES][0, 0]


def test_a_close_decision_is_no_certain_one():
    graphs = stepwise_graphs()
    decoder = graphs.model.module
    [request] = drawn(graphs, 1)
    batch = join(graphs.model.signature.inputs, [request])
    assert is_certain(decoder, batch)
    decoder.step.outer.weight.data[:] = 0
    decoder.step.outer.bias.data[:] = 0
    assert not is_certain(decoder, batch)


def test_random_steps_come_from_places_that_decoding_reaches():
    step = stepwise_graphs().stages["step"]
    sizes = [{"source_tokens": size} for size in (1, 3, 5)]
    seen = set()
    for seed in range(5 * MOST_WALKED):
        requests = draw(step, sizes, np.random.default_rng(seed))
        for own, request in zip(sizes, requests, strict=True):
            assert sizes_of(step.signature.inputs, request) == own
            assert request["state"].shape == (HIDDEN,)
            assert 0 <= request["previous_token"] < IDS
            assert request["present"].all()
            seen.add(int(request["previous_token"]))
    assert len(seen) > 3


def test_a_step_graph_is_traced_with_tensors_of_its_own():
    tensors = example(stepwise_graphs().stages["step"])
    assert len({tensor.data_ptr() for tensor in tensors}) == len(tensors)


@pytest.mark.parametrize("name", ["memory", "present", "state"])
def test_the_step_takes_what_the_encoder_makes(name):
    graphs = stepwise_graphs()
    assert name in graphs.stages["encoder"].outputs
    assert name in graphs.stages["step"].inputs
    assert name not in graphs.model.inputs
