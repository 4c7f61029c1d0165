import torch

from models.bidirectional_lstm import BidirectionalLSTM

BATCH, STEPS, INPUTS, HIDDEN = 2, 5, 3, 7


def layer():
    torch.manual_seed(1)
    made = BidirectionalLSTM(INPUTS, HIDDEN)
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.4)
    return made.eval()


def test_without_padding_it_is_the_library_layer():
    made, x = layer(), torch.randn(BATCH, STEPS, INPUTS)
    expected, _ = made.lstm(x.transpose(0, 1))
    torch.testing.assert_close(made(x, torch.zeros(BATCH, STEPS)), expected.transpose(0, 1))


def test_padding_changes_no_state_and_has_none():
    made, x = layer(), torch.randn(BATCH, STEPS, INPUTS)
    longer = torch.cat([x, 100 * torch.randn(BATCH, 4, INPUTS)], dim=1)
    padded = torch.cat([torch.zeros(BATCH, STEPS), torch.ones(BATCH, 4)], dim=1)
    states = made(longer, padded)
    torch.testing.assert_close(states[:, :STEPS], made(x, torch.zeros(BATCH, STEPS)))
    assert (states[:, STEPS:] == 0).all()
