import pytest
import torch

from models.recurrent import HOLD, AttentionGRU, HeldGRU, gru, gru_op

B, S, D, H = 2, 5, 3, 7
LENGTHS = (5, 2)


def filled(module):
    for weight in module.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    return module


def plain_gru(held):
    """Torch's own GRU with the same weights."""
    plain = torch.nn.GRU(D, H, batch_first=True)
    own = {
        "weight_ih_l0": held.w_ih,
        "weight_hh_l0": held.w_hh,
        "bias_ih_l0": held.b_ih,
        "bias_hh_l0": held.b_hh,
    }
    plain.load_state_dict({name: weight.detach() for name, weight in own.items()})
    return plain


def padded_batch():
    x_BSD = torch.randn(B, S, D)
    hold_BS = torch.zeros(B, S)
    for row, length in enumerate(LENGTHS):
        hold_BS[row, length:] = HOLD
    return x_BSD, hold_BS


def attention_gru_step_by_step(module, facts_FH, gates_F):
    """Equations 10 to 12 of the paper, as written there."""
    w_r, w = module.w_ih.chunk(2)
    u_r, u = module.w_hh.chunk(2)
    b_r, b = module.b_ih.chunk(2)
    c_r, c = module.b_hh.chunk(2)
    state_H = torch.zeros(H)
    for fact_H, gate in zip(facts_FH, gates_F, strict=True):
        reset_H = torch.sigmoid(w_r @ fact_H + b_r + u_r @ state_H + c_r)
        candidate_H = torch.tanh(w @ fact_H + b + reset_H * (u @ state_H + c))
        state_H = gate * candidate_H + (1 - gate) * state_H
    return state_H


def test_states_before_padding_are_those_of_a_plain_gru():
    held = filled(HeldGRU(D, H))
    x_BSD, hold_BS = padded_batch()
    states_BSH = held(x_BSD, hold_BS)
    for row, length in enumerate(LENGTHS):
        expected_1SH, _ = plain_gru(held)(x_BSD[row : row + 1, :length])
        torch.testing.assert_close(states_BSH[row, :length], expected_1SH[0], atol=1e-6, rtol=0)


def test_padding_holds_the_last_state():
    held = filled(HeldGRU(D, H))
    states_BSH = held(*padded_batch())
    last_H = states_BSH[1, LENGTHS[1] - 1]
    torch.testing.assert_close(states_BSH[1, LENGTHS[1] :], last_H.expand(3, H), atol=1e-6, rtol=0)


def test_backwards_padding_comes_first_and_changes_nothing():
    held = filled(HeldGRU(D, H))
    x_BSD, hold_BS = padded_batch()
    states_BSH = held(x_BSD.flip(1), hold_BS.flip(1)).flip(1)
    for row, length in enumerate(LENGTHS):
        backwards_1SD = x_BSD[row : row + 1, :length].flip(1)
        expected_1SH, _ = plain_gru(held)(backwards_1SD)
        torch.testing.assert_close(states_BSH[row, :length], expected_1SH[0].flip(0), atol=1e-6, rtol=0)


def test_the_attention_gru_follows_the_papers_equations():
    module = filled(AttentionGRU(H))
    facts_BFH, gates_BF = torch.randn(B, S, H), torch.rand(B, S).softmax(dim=-1)
    episodes_BH = module(facts_BFH, gates_BF, torch.zeros(B, S))
    for row in range(B):
        expected_H = attention_gru_step_by_step(module, facts_BFH[row], gates_BF[row])
        torch.testing.assert_close(episodes_BH[row], expected_H, atol=1e-6, rtol=0)


@pytest.mark.parametrize("gate", [0.0, 1.0], ids=["closed", "open"])
def test_a_gate_may_be_fully_closed_or_open(gate):
    module = filled(AttentionGRU(H))
    facts_BFH, gates_BF = torch.randn(1, S, H), torch.full((1, S), gate)
    expected_H = attention_gru_step_by_step(module, facts_BFH[0], gates_BF[0])
    torch.testing.assert_close(
        module(facts_BFH, gates_BF, torch.zeros(1, S))[0], expected_H, atol=1e-5, rtol=0
    )


def test_padded_facts_leave_the_episode_as_it_is():
    module = filled(AttentionGRU(H))
    facts_BFH, gates_BF = torch.randn(B, S, H), torch.rand(B, S)
    padded_BF = (torch.arange(S) >= 3).float().expand(B, S)
    short_BH = module(facts_BFH[:, :3], gates_BF[:, :3], torch.zeros(B, 3))
    torch.testing.assert_close(module(facts_BFH, gates_BF, padded_BF), short_BH, atol=1e-6, rtol=0)


def test_the_operator_that_is_exported_computes_what_training_computes():
    arguments = (torch.randn(S, B, D), torch.randn(3 * H, D), torch.randn(3 * H, H), *torch.randn(2, 3 * H))
    torch.testing.assert_close(gru_op(*arguments), gru(*arguments), atol=0, rtol=0)
    torch.library.opcheck(gru_op, arguments, test_utils=("test_schema", "test_faketensor"))
