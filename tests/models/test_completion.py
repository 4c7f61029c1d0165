"""How language models learn: the windows carry real history, and gradients reach as far as they are told."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from models.completion import (
    CompletionOptions,
    CompletionRecipe,
    chunks,
    ids_of,
    in_streams,
    pointer_loss,
    score,
)
from models.data.language import Corpus, sample_words
from models.data.running_text import END_OF_LINE
from models.families import build

FAMILY = "pointer_sentinel_lstm"
RECORD = {"name": "words", "licence": "Apache-2.0", "source": "here"}


def recipe(words=None, valid=None, shape=None, **options):
    words = words or sample_words(40, seed=3)
    learning = CompletionOptions(**{"streams": 3, "chunk": 5} | options)
    dropouts = dict.fromkeys(("input_dropout", "layer_dropout", "output_dropout"), 0.0)
    sizes = {"hidden": 11, "layers": 2, "window": 7} | dropouts
    corpus = Corpus(words, valid or words[:200], "wikitext", RECORD)
    return CompletionRecipe(FAMILY, corpus, learning, sizes | (shape or {}))


def batches(made, seed=1):
    return list(made.batches(0, 1, np.random.default_rng(seed))[1])


def test_every_word_but_the_first_of_each_stream_is_predicted_once():
    made = recipe()
    total, found = made.batches(0, 1, np.random.default_rng(1))
    found = list(found)
    assert sum(batch.next_BT.numel() for batch in found) == total
    read = torch.cat([batch.pieces[-1] for batch in found], dim=1)
    following = torch.cat([batch.next_BT for batch in found], dim=1)
    assert torch.equal(read[:, 1:], following[:, :-1])


def test_epochs_cut_the_text_at_different_places():
    made = recipe()
    assert not torch.equal(batches(made, 1)[0].pieces[0], batches(made, 2)[0].pieces[0])


def test_the_window_at_the_start_of_a_chunk_holds_the_words_before_it():
    made = recipe()
    net, found = made.network(), batches(made)
    for batch in found[:4]:
        made.loss(net, batch)
    before = torch.cat([batch.pieces[-1] for batch in found[:4]], dim=1)
    assert torch.equal(made.carried.window_words_BL, before[:, -7:])
    assert not made.carried.window_states_BLH.requires_grad


def test_the_state_that_is_kept_is_the_one_after_the_first_piece():
    """With back-propagation over k2 = 3 k1 words, the next step begins k1 words later."""
    made = recipe(history=2)
    net, found = made.network(), batches(made)
    for batch in found[:6]:
        made.loss(net, batch)
    assert [len(batch.pieces) for batch in found[:4]] == [1, 2, 3, 3]
    for earlier, later in pairwise(found[2:6]):
        assert torch.equal(earlier.pieces[1], later.pieces[0])
    seen = torch.cat([batch.pieces[-1] for batch in found[:4]], dim=1)  # the first piece of the sixth step
    state = net.begin(3)
    with torch.no_grad():
        expected = net(seen, state).state
    for ours, theirs in zip(made.carried, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


@pytest.mark.parametrize("history", [0, 1, 2])
def test_gradients_reach_back_as_far_as_told(history):
    made = recipe(history=history)
    net, found = made.network(), batches(made)
    reached = []
    embed = net.vocabulary.embed

    def noted(words_BT):
        vectors_BTH = embed(words_BT)
        vectors_BTH.retain_grad()
        reached.append(vectors_BTH)
        return vectors_BTH

    net.vocabulary.embed = noted
    for batch in found[:4]:
        reached.clear()
        loss, _ = made.loss(net, batch)
    loss.backward()
    assert len(reached) == history + 1
    assert all(vectors.grad.abs().sum() > 0 for vectors in reached)


def test_the_first_chunk_of_an_epoch_begins_with_an_empty_window():
    made = recipe()
    net = made.network()
    for batch in batches(made)[:3]:
        made.loss(net, batch)
    first = batches(made)[0]
    assert first.begins
    made.loss(net, first)
    assert (made.carried.window_words_BL == 0).sum() == 3 * 2  # window 7, chunk 5


def test_the_pointers_own_loss_is_what_it_leaves_to_nobody():
    made = recipe()
    net, batch = made.network(), batches(made)[0]
    output = net(batch.pieces[0], net.begin(3))
    share_BT = output.attention_BTL1[..., -1].exp()
    for row in range(3):
        for step in range(5):
            same = output.words_BTL[row, step] == batch.next_BT[row, step]
            share_BT[row, step] += output.attention_BTL1[row, step, :-1].exp()[same].sum()
    torch.testing.assert_close(pointer_loss(output, batch.next_BT), -share_BT.log().mean())
    with_it, _ = made.loss(net, batch)
    without, _ = recipe(pointer_loss=0.0).loss(net, batch)
    torch.testing.assert_close(with_it - without, pointer_loss(output, batch.next_BT))


def test_a_text_that_repeats_itself_is_learnt_by_heart():
    words = ["one", "two", "three", "four", "five", "six", END_OF_LINE] * 12
    made = recipe(words, shape={"hidden": 16})
    torch.manual_seed(1)
    net = made.network()
    optimiser = torch.optim.AdamW(net.parameters(), lr=0.02)
    for epoch in range(12):
        for batch in made.batches(epoch, 12, np.random.default_rng(epoch))[1]:
            loss, _ = made.loss(net.train(), batch)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    assert made.evaluate(net).extra["perplexity"] < 1.2


def test_perplexity_does_not_depend_on_how_the_text_is_cut():
    made = recipe()
    net = made.network()
    whole = score(net, made.valid_ids)
    assert len(whole.log_probability) == len(made.valid_ids)
    state, alone = net.begin(1), []
    ids = torch.tensor([[2, *made.valid_ids.tolist()]])
    with torch.no_grad():
        for words_BT, next_BT in chunks(ids, 3):
            output = net(words_BT, state)
            state = output.state
            alone += net.log_probability(output, next_BT)[0].tolist()
    np.testing.assert_allclose(whole.log_probability, alone, atol=1e-5)


def test_evaluation_tells_perplexity_and_gate():
    made = recipe()
    found = made.evaluate(made.network())
    assert found.extra["perplexity"] == pytest.approx(math.exp(found.loss))
    assert 0 < found.extra["gate"] < 1
    assert found.error == pytest.approx(100 * (1 - math.exp(-found.loss)))


def test_a_checkpoint_gives_back_network_and_tokenizer():
    made = recipe()
    net = made.network()
    saved = made.checkpoint(net, {}, {})
    assert saved.limits == {"max_text_words": 1024, "max_words": 32, "window": 7}
    assert saved.words[0] == END_OF_LINE
    assert '"type":"WordLevel"' in saved.tokenizer.replace(" ", "")
    again = build(saved)
    np.testing.assert_array_equal(
        score(again, made.valid_ids).log_probability, score(net, made.valid_ids).log_probability
    )


def test_words_that_are_not_known_are_the_unknown_word():
    assert ids_of(["b", "x", "a"], ["a", "b"]).tolist() == [3, 1, 2]


def test_streams_leave_out_a_rest_that_fills_no_column():
    assert in_streams(np.arange(11), 3).tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def test_bfloat16_learns_nearly_the_same():
    losses = []
    for precision in ("float32", "bfloat16"):
        made = recipe(precision=precision)
        torch.manual_seed(1)
        losses.append(float(made.loss(made.network(), batches(made)[0])[0].detach()))
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], abs=0.05)


def test_too_little_text_says_which_knobs_to_turn():
    with pytest.raises(ValueError, match=r"20 words; learning\.streams = 3 of learning\.chunk = 9"):
        recipe(sample_words(40, 1)[:20], chunk=9)


def test_options_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="history must be at least 0, got -1"):
        CompletionOptions(history=-1)
