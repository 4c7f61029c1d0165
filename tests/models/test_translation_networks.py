"""What holds for every network that translates, in every form that it offers."""

import numpy as np
import pytest
import torch

from models.attention_gru import AttentionGRUConfig
from models.extended_neural_gpu import ExtendedNeuralGPUConfig
from tests.models.translation_builders import FIRST, VARIANTS, VOCABULARY, ids, network, padded, recipe

every_variant = pytest.mark.parametrize("variant", VARIANTS)


@every_variant
@torch.no_grad()
def test_a_padded_batch_equals_single_runs(variant):
    net, rng = network(variant), np.random.default_rng(1)
    sources = [ids(rng, length) for length in (5, 1, 3)]
    told = padded([ids(rng, 7) for _ in sources])
    together = net(padded(sources), told)
    for row, source in enumerate(sources):
        alone = net(padded([source]), told[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=1e-6)


@every_variant
@torch.no_grad()
def test_step_by_step_equals_the_whole_sentence_at_once(variant):
    net, rng = network(variant), np.random.default_rng(2)
    source, told = padded([ids(rng, 4), ids(rng, 6)]), padded([ids(rng, 5), ids(rng, 5)])
    memory, state = net.encode(source)
    whole, looked, _ = net.decode(told, state, memory)
    for place in range(told.shape[1]):
        readout, here, state = net.decode(told[:, place : place + 1], state, memory)
        torch.testing.assert_close(readout[:, 0], whole[:, place], rtol=0, atol=1e-6)
        torch.testing.assert_close(here[:, 0], looked[:, place], rtol=0, atol=1e-6)


@every_variant
@torch.no_grad()
def test_nothing_is_known_before_it_is_told(variant):
    net, rng = network(variant), np.random.default_rng(3)
    source, told = padded([ids(rng, 4)]), padded([ids(rng, 6)])
    other = told.clone()
    other[:, 3:] = (other[:, 3:] - 3) % (VOCABULARY - 4) + 4
    assert torch.equal(net(source, told)[:, :3], net(source, other)[:, :3])


@every_variant
@torch.no_grad()
def test_where_it_looked_ends_with_the_source(variant):
    net, rng = network(variant), np.random.default_rng(4)
    memory, state = net.encode(padded([ids(rng, 2), ids(rng, 9)]))
    looked = net.decode(padded([ids(rng, 5)] * 2), state, memory)[1]
    assert looked.shape[:2] == (2, 5)
    assert (looked >= 0).all()
    if variant.startswith("attention"):
        assert (looked[0, :, 2:] == 0).all()
        torch.testing.assert_close(looked.sum(dim=-1), torch.ones(2, 5))
    else:
        assert looked.shape[2] == 9
        assert (looked[0, :, 4:] == 0).all()


@every_variant
def test_gradients_reach_every_parameter(variant):
    net, rng = network(variant).train(), np.random.default_rng(5)
    net.logits(net(padded([ids(rng, 6), ids(rng, 3)]), padded([ids(rng, 5)] * 2))).square().mean().backward()
    without = {name for name, weight in net.named_parameters() if not weight.grad.abs().sum() > 0}
    assert not without


@every_variant
@torch.no_grad()
def test_what_was_spoken_matters_as_far_as_the_form_says(variant):
    net, rng = network(variant), np.random.default_rng(6)
    source, told = padded([ids(rng, 6)]), padded([ids(rng, 6)])
    before = net(source, told)[0, 5]
    changes = []
    for place in range(6):
        other = told.clone()
        other[0, place] = (other[0, place] - 3) % (VOCABULARY - 4) + 4
        changes.append(not torch.equal(net(source, other)[0, 5], before))
    nothing, the_last = [False] * 6, [False] * 5 + [True]
    assert changes == {"plain": nothing, "Markovian": the_last}.get(variant, changes)
    assert variant in ("plain", "Markovian") or sum(changes) > 3


@pytest.mark.parametrize("variant", ["attention", "window", "whole canvas", "listening"])
def test_eight_sentences_can_be_learnt_by_heart(variant):
    family, options = VARIANTS[variant]
    if family == "extended_neural_gpu":
        options = {name: value for name, value in options.items() if name in ("ahead", "read", "columns")}
    larger = {"embedding": 24, "embedding_dropout": 0.0, "readout_dropout": 0.0}
    larger |= (
        {"hidden": 32, "context_dropout": 0.0} if family == "attention_gru" else {"maps": 33, "dropout": 0.0}
    )
    made = recipe(
        family, train=8, shape=options | larger, label_smoothing=0.0, averaged_epochs=1, bleu_pairs=8
    )
    made.valid = made.train
    torch.manual_seed(7)
    net = made.network()
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-2)
    for epoch in range(60):
        for batch in made.batches(epoch, 60, np.random.default_rng(epoch))[1]:
            loss, _ = made.loss(net, batch)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
    assert made.evaluate(net).extra["bleu"] > 99


@torch.no_grad()
def test_a_step_of_a_window_costs_the_same_for_every_length():
    net, rng = network("window"), np.random.default_rng(8)
    for length in (2, 30):
        _, (window, tape, _) = net.encode(padded([ids(rng, length)]))
        assert window.shape == (1, 5, 1, 9)
        assert tape.shape == (1, 2, 6)


@torch.no_grad()
def test_every_cell_hears_the_last_piece_and_any_may_speak():
    net, rng = network("listening"), np.random.default_rng(10)
    canvas, state = net.encode(padded([ids(rng, 5)]))
    one, other = (net.decode(torch.tensor([[piece]]), state, canvas) for piece in (FIRST, FIRST + 1))
    assert ((one[2][0] - other[2][0]).abs().amax(dim=(2, 3)) > 0).all()
    for silent in range(5):
        cells = state[0].clone()
        cells[:, silent] += 0.5
        changed = net.decode(torch.tensor([[FIRST]]), (cells, state[1]), canvas)[0]
        assert not torch.equal(changed, one[0])


@torch.no_grad()
def test_a_row_rests_after_a_step_for_each_of_its_columns():
    net, rng = network("whole canvas, as many steps as columns"), np.random.default_rng(9)
    source = ids(rng, 2)
    alone, _ = net.encode(padded([source]))
    beside, _ = net.encode(padded([source, ids(rng, 12)]))
    columns = alone.cells_BNCM.shape[1]
    torch.testing.assert_close(beside.cells_BNCM[:1, :columns], alone.cells_BNCM, rtol=0, atol=1e-6)
    assert (beside.cells_BNCM[0, columns:] == 0).all()


def test_sets_of_weights_disagree_until_they_are_one():
    net = network("whole canvas, as many steps as columns")
    assert net.disagreement() > 0
    assert network("whole canvas").disagreement() == 0
    with torch.no_grad():
        for sets in (net.encoder[0].gates, net.encoder[0].candidate):
            for other in sets[1:]:
                other.load_state_dict(sets[0].state_dict())
    assert net.disagreement() < 1e-9


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (AttentionGRUConfig, {"hidden": 0}, "hidden must be at least 1, got 0"),
        (AttentionGRUConfig, {"source_vocabulary": 5}, "shared_embedding needs one vocabulary"),
        (ExtendedNeuralGPUConfig, {"maps": 0}, "maps must be at least 1, got 0"),
        (ExtendedNeuralGPUConfig, {"kernel": 4}, "kernel and kernel_width must be odd"),
        (ExtendedNeuralGPUConfig, {"form": "free"}, "form must be 'plain', 'markovian' or 'extended'"),
        (ExtendedNeuralGPUConfig, {"decoder_kernel": 2}, "kernel and kernel_width must be odd"),
        (ExtendedNeuralGPUConfig, {"read": "all"}, "read must be 'column' or 'maximum'"),
        (ExtendedNeuralGPUConfig, {"read": "maximum", "form": "plain"}, "is of the extended form"),
        (ExtendedNeuralGPUConfig, {"target_vocabulary": 5}, "shared_embedding needs one vocabulary"),
    ],
    ids=[
        "no state",
        "two vocabularies",
        "no maps",
        "even kernel",
        "unknown form",
        "even kernel, decoder",
        "unknown reading",
        "plain form that listens",
        "two vocabularies, canvas",
    ],
)
def test_a_shape_that_no_network_has_is_refused(config, options, message):
    with pytest.raises(ValueError, match=message):
        config(**{"source_vocabulary": 7, "target_vocabulary": 7} | options)
