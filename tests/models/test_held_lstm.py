import pytest
import torch

from models.held_lstm import HeldLSTM, lstm, lstm_op

B, S, D, H = 2, 5, 3, 7
LENGTHS = (5, 2)


@pytest.fixture
def layer():
    made = HeldLSTM(D, H)
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    return made.eval()


def plain(layer, x_BSD, h_BH, c_BH):
    """Torch's own LSTM with the same weights."""
    own = torch.nn.LSTM(D, H, batch_first=True)
    names = {"weight_ih_l0": "w_ih", "weight_hh_l0": "w_hh", "bias_ih_l0": "b_ih", "bias_hh_l0": "b_hh"}
    own.load_state_dict({theirs: getattr(layer, ours).detach() for theirs, ours in names.items()})
    states_BSH, (_, cell) = own(x_BSD, (h_BH.unsqueeze(0), c_BH.unsqueeze(0)))
    return states_BSH, cell[0]


def inputs():
    return torch.randn(B, S, D), torch.randn(B, H), torch.randn(B, H)


def test_it_is_an_lstm_that_begins_in_a_given_state(layer):
    given = inputs()
    for ours, theirs in zip(layer(*given), plain(layer, *given), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def test_padding_changes_neither_the_outputs_before_it_nor_the_cell(layer):
    x_BSD, h_BH, c_BH = inputs()
    padded_BS = torch.tensor([[float(step >= length) for step in range(S)] for length in LENGTHS])
    states_BSH, cell_BH = layer(x_BSD, h_BH, c_BH, padded_BS)
    for row, length in enumerate(LENGTHS):
        one = slice(row, row + 1)
        states_1SH, cell_1H = plain(layer, x_BSD[one, :length], h_BH[one], c_BH[one])
        torch.testing.assert_close(states_BSH[row, :length], states_1SH[0], atol=1e-6, rtol=0)
        torch.testing.assert_close(cell_BH[row], cell_1H[0], atol=1e-6, rtol=0)


def test_the_operator_is_what_eager_torch_runs(layer):
    x_BSD, h_BH, c_BH = inputs()
    weights = [layer.w_ih, layer.w_hh, layer.b_ih, layer.b_hh]
    with torch.no_grad():
        ours = lstm_op(x_BSD.transpose(0, 1), h_BH, c_BH, weights)
        for one, other in zip(ours, lstm(x_BSD.transpose(0, 1), h_BH, c_BH, weights), strict=True):
            assert torch.equal(one, other)


def test_recurrent_weights_are_dropped_in_training_only():
    dropped = HeldLSTM(D, H, weight_drop=0.5)
    given = inputs()
    assert torch.equal(dropped.eval()(*given)[0], dropped(*given)[0])
    dropped.train()
    assert not torch.equal(dropped(*given)[0], dropped(*given)[0])


def test_bfloat16_is_near_and_comes_back_as_float32(layer):
    given = inputs()
    with torch.autocast("cpu", torch.bfloat16):
        short_BSH, cell_BH = layer(*given)
    assert short_BSH.dtype == cell_BH.dtype == torch.float32
    torch.testing.assert_close(short_BSH, layer(*given)[0], atol=0.05, rtol=0)
