"""A bidirectional LSTM layer that steps over padding: the encoder of pointer networks.

On a padded step one more input closes the input and output gates and opens the forget gate: the cell is kept
and the state is zero. Padding sits at the end, so the backward direction begins at the last real step with
the state it would have without padding, and no lengths or packing are needed.

The layer is a single operator, so that the export can write it as a single ONNX LSTM node.

Legend: B batch, S steps, D inputs, H hidden of one direction.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.recurrent import HOLD


@torch.library.custom_op("engram::bidirectional_lstm", mutates_args=())
def bidirectional_lstm_op(  # noqa: D103 - documented on bidirectional_lstm()
    x_SBD: Tensor, weights: Sequence[Tensor]
) -> Tensor:
    return _fused(x_SBD, weights).clone()


@bidirectional_lstm_op.register_fake
def _(x_SBD: Tensor, weights: Sequence[Tensor]) -> Tensor:
    return x_SBD.new_empty(x_SBD.shape[0], x_SBD.shape[1], 2 * weights[1].shape[1])


def _fused(x_SBD: Tensor, weights: Sequence[Tensor]) -> Tensor:
    start = x_SBD.new_zeros(2, x_SBD.shape[1], weights[1].shape[1])
    learns = torch.is_grad_enabled()
    states_SBI: Tensor
    states_SBI, _, _ = torch._VF.lstm(x_SBD, [start, start], list(weights), True, 1, 0.0, learns, True, False)
    return states_SBI


def bidirectional_lstm(x_SBD: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Run one bidirectional LSTM layer from zero states.

    Args:
        x_SBD: float inputs, steps first.
        weights: input weights ``[4H, D]``, recurrent weights ``[4H, H]``, input and recurrent biases ``[4H]``
            of the forward direction, then those of the backward one; gates in torch's order (input, forget,
            new, output).

    Returns:
        The states of both directions after every step, ``[S, B, 2H]``.
    """
    if torch.compiler.is_exporting():
        states_SBI: Tensor = bidirectional_lstm_op(x_SBD, list(weights))
        return states_SBI
    return _fused(x_SBD, weights)


class BidirectionalLSTM(nn.Module):
    """One LSTM layer in both directions (Hochreiter, Schmidhuber 1997, with forget gates)."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, hidden, bidirectional=True)
        for name, weight in self.lstm.named_parameters():
            if name.startswith("weight"):
                for gate in weight.data.chunk(4):
                    nn.init.xavier_uniform_(gate)
            else:
                nn.init.zeros_(weight)

    def forward(self, x_BSD: Tensor, padded_BS: Tensor) -> Tensor:
        """Return the states of both directions ``[B, S, 2H]``, zero on padding.

        Args:
            x_BSD: float inputs.
            padded_BS: 0.0 on real steps, 1.0 on padded ones, which come last.
        """
        x_BSE = torch.cat([x_BSD, HOLD * padded_BS.unsqueeze(-1)], dim=-1)
        weights = [
            torch.cat([weight, _gate_column(weight)], dim=1) if name.startswith("weight_ih") else weight
            for name, weight in self.lstm.named_parameters()
        ]
        return bidirectional_lstm(x_BSE.transpose(0, 1), weights).transpose(0, 1)


def _gate_column(weight: Tensor) -> Tensor:
    """Return what a padded step adds to the gates: closed input, open forget, closed output."""
    one = weight.new_ones(weight.shape[0] // 4, 1)
    return torch.cat([-one, one, torch.zeros_like(one), -one])
