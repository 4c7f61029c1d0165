"""The network, and the traps others fell into: a bias that is never added, clamps, windows without end."""

import pytest
import torch

from models.pointer_sentinel_lstm import (
    PointerSentinelConfig,
    PointerSentinelLSTM,
    State,
    pointed_at,
)

V, H, N, L, B, T = 23, 7, 2, 5, 3, 4


def network(**options):
    torch.manual_seed(1)
    config = PointerSentinelConfig(**{"vocabulary": V, "hidden": H, "layers": N, "window": L} | options)
    made = PointerSentinelLSTM(config)
    with torch.no_grad():  # biases begin at zero, where a mistake with them would not show
        for name, weight in made.named_parameters():
            if "b_" in name or "bias" in name:
                weight.normal_(std=0.3)
    return made.eval()


def words(*shape):
    return torch.randint(1, V, shape)


def everything(net, words_BT, state):
    """Return the mixture's probability of every word after every word, ``[B, T, V]``, the slow way."""
    output = net(words_BT, state)
    batch, length = words_BT.shape
    p_BTV = net.vocabulary.log_probabilities(output.states_BTH.reshape(-1, H)).exp().view(batch, length, V)
    p_BTV = p_BTV * output.attention_BTL1[..., -1:].exp()
    for row in range(batch):
        for step in range(length):
            for place in range(L):
                word = output.words_BTL[row, step, place]
                p_BTV[row, step, word] += output.attention_BTL1[row, step, place].exp()
    return p_BTV, output


def test_the_mixture_is_a_distribution_over_all_words():
    net = network()
    with torch.no_grad():
        p_BTV, _ = everything(net, words(B, T), net.begin(B))
    torch.testing.assert_close(p_BTV.sum(dim=2), torch.ones(B, T), atol=1e-5, rtol=0)
    assert p_BTV[..., 0].abs().max() < 1e-6


def test_the_probability_of_a_word_is_that_of_the_mixture():
    net = network()
    words_BT, next_BT = words(B, T), words(B, T)
    with torch.no_grad():
        p_BTV, output = everything(net, words_BT, net.begin(B))
        log_p_BT = net.log_probability(output, next_BT)
    expected_BT = p_BTV.gather(2, next_BT.unsqueeze(2)).squeeze(2).log()
    torch.testing.assert_close(log_p_BT, expected_BT, atol=1e-5, rtol=0)


def test_equations_of_the_paper():
    """Section 2.3: one query, its products with the last outputs and the sentinel, one softmax."""
    net = network()
    words_1T = words(1, L)
    with torch.no_grad():
        output = net(words_1T, net.begin(1))
        query = torch.tanh(net.pointer.query.weight @ output.states_BTH[0, -1] + net.pointer.query.bias)
        scores = torch.cat([output.states_BTH[0] @ query, (query @ net.pointer.sentinel_H).view(1)])
    torch.testing.assert_close(output.attention_BTL1[0, -1].exp(), scores.softmax(dim=0), atol=1e-6, rtol=0)


def test_attention_sums_to_one_and_places_that_hold_nothing_get_exactly_none():
    net = network()
    with torch.no_grad():
        output = net(words(B, T), net.begin(B))
    weights = output.attention_BTL1.exp()
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(B, T), atol=1e-6, rtol=0)
    for step in range(T):
        assert (weights[:, step, : L - step - 1] == 0).all()
        assert (weights[:, step, L - step - 1 :] > 0).all()


def test_the_query_bias_is_added():
    net = network()
    words_BT, state = words(B, T), net.begin(B)
    before = net(words_BT, state).attention_BTL1
    with torch.no_grad():
        net.pointer.query.bias += 1.0
    assert not torch.allclose(before, net(words_BT, state).attention_BTL1)


@pytest.mark.parametrize("cutoffs", [(), (4, 9)], ids=["plain", "adaptive"])
def test_gradients_reach_every_parameter(cutoffs):
    net = network(cutoffs=cutoffs)
    first = net(words(B, T), net.begin(B))
    output = net(torch.arange(1, 22).view(3, 7), first.state)
    (-net.log_probability(output, torch.arange(2, 23).view(3, 7)).mean()).backward()
    learnt = {name: weight.grad for name, weight in net.named_parameters() if weight.numel()}
    without = [name for name, grad in learnt.items() if not (grad.abs() > 0).any()]
    assert without == []


def test_a_tiny_probability_is_not_clamped():
    net = network()
    with torch.no_grad():
        net.vocabulary.biases[0][5] = -60.0
    output = net(torch.tensor([[3, 4]]), net.begin(1))
    log_p = net.log_probability(output, torch.tensor([[3, 5]]))[0, 1]
    assert log_p < -50  # far below the logarithm of 1e-12
    log_p.backward()
    assert net.vocabulary.biases[0].grad[5] > 0.5


def test_a_word_that_is_not_in_the_window_has_no_pointer_share():
    net = network()
    output = net(torch.tensor([[3, 4, 3]]), net.begin(1))
    shares = pointed_at(output, torch.tensor([[4, 3, 5]])).exp()[0]
    assert shares[0] == shares[2] == 0
    assert shares[1] > 0


def test_all_places_of_a_word_add_up():
    net = network()
    output = net(torch.tensor([[3, 4, 3]]), net.begin(1))
    share = pointed_at(output, torch.tensor([[5, 5, 3]])).exp()[0, 2]
    weights = output.attention_BTL1[0, 2].exp()
    torch.testing.assert_close(share, weights[L - 3] + weights[L - 1])


def test_the_window_never_grows_beyond_its_size():
    net = network()
    with torch.no_grad():
        words_BT = words(B, 4 * L)
        output = net(words_BT, net.begin(B))
    assert output.state.window_words_BL.tolist() == words_BT[:, -L:].tolist()
    assert output.attention_BTL1.shape == (B, 4 * L, L + 1)
    for step in range(L - 1, 4 * L):
        assert output.words_BTL[:, step].tolist() == words_BT[:, step - L + 1 : step + 1].tolist()


def test_a_text_may_be_cut_anywhere():
    """The state after k words is the one with which the words from k + 1 on continue."""
    net = network()
    words_BT = words(B, 11)
    with torch.no_grad():
        whole = net(words_BT, net.begin(B))
        for cut in (1, 4, 10):
            first = net(words_BT[:, :cut], net.begin(B))
            second = net(words_BT[:, cut:], first.state)
            together = torch.cat([first.attention_BTL1, second.attention_BTL1], dim=1)
            torch.testing.assert_close(together.exp(), whole.attention_BTL1.exp(), atol=1e-6, rtol=0)
            for ours, theirs in zip(second.state, whole.state, strict=True):
                torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def test_a_padded_row_is_as_if_it_were_alone():
    net = network()
    rows = [words(1, length) for length in (6, 1, 3)]
    starts = [net(words(1, length), net.begin(1)).state for length in (2, 7, 4)]
    padded = torch.zeros(3, 6, dtype=torch.int64)
    for row, one in zip(padded, rows, strict=True):
        row[: one.shape[1]] = one[0]
    with torch.no_grad():
        together = net(padded, State(*map(torch.cat, zip(*starts, strict=True))))
        for place, (one, start) in enumerate(zip(rows, starts, strict=True)):
            alone = net(one, start)
            length = one.shape[1]
            torch.testing.assert_close(
                together.attention_BTL1[place, :length], alone.attention_BTL1[0], atol=1e-5, rtol=0
            )
            for ours, theirs in zip(together.state, alone.state, strict=True):
                torch.testing.assert_close(ours[place], theirs[0], atol=1e-6, rtol=0)


def test_without_its_pointer_it_is_the_same_lstm():
    control = network(pointer=False)
    words_BT, next_BT = words(B, T), words(B, T)
    with torch.no_grad():
        output = control(words_BT, control.begin(B))
        vocabulary = control.vocabulary.log_probabilities(output.states_BTH.reshape(-1, H)).view(B, T, V)
    assert (output.attention_BTL1[..., -1] == 0).all()
    torch.testing.assert_close(
        control.log_probability(output, next_BT), vocabulary.gather(2, next_BT.unsqueeze(2)).squeeze(2)
    )
    without, with_it = (sum(weight.numel() for weight in net.parameters()) for net in (control, network()))
    assert with_it - without == H * H + 2 * H  # W, b and the sentinel


def test_locked_dropout_drops_the_same_units_at_every_word():
    net = network(input_dropout=0.5).train()
    dropped = net._drop(torch.ones(B, T, H), 0.5)
    assert (dropped == dropped[:, :1]).all()
    assert set(dropped.unique().tolist()) == {0.0, 2.0}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"window": 0}, "window must be at least 1, got 0"),
        ({"input_dropout": 1.0}, "input_dropout must be at least 0 and below 1"),
        ({"cutoffs": (9, 4)}, r"cutoffs must be above 1 and rise, got \[9, 4\]"),
    ],
    ids=["window", "dropout", "falling cutoffs"],
)
def test_a_network_that_cannot_be_is_refused(options, reason):
    with pytest.raises(ValueError, match=reason):
        PointerSentinelConfig(vocabulary=V, **options)
