"""An LSTM layer whose state can be held and handed on: what stateful sequence models are built from.

A step has one more input, the *hold* logit. Large closes the input gate and opens the forget gate, so a
right-padded step leaves the cell as it is; the output of the last real step is then picked by its place.

The recurrence is a single operator, so that the export can write it as a single ONNX LSTM node.

Legend: B batch, S steps, D inputs, H hidden.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from models.recurrent import HOLD


@torch.library.custom_op("engram::lstm", mutates_args=())
def lstm_op(  # noqa: D103 - documented on lstm()
    x_SBD: Tensor, h_BH: Tensor, c_BH: Tensor, weights: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    states_SBH, last_c_BH = _fused_lstm(x_SBD, h_BH, c_BH, weights)
    return states_SBH.clone(), last_c_BH.clone()


@lstm_op.register_fake
def _(x_SBD: Tensor, h_BH: Tensor, c_BH: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    return x_SBD.new_empty(x_SBD.shape[0], x_SBD.shape[1], weights[1].shape[1]), c_BH.new_empty(c_BH.shape)


def _fused_lstm(
    x_SBD: Tensor, h_BH: Tensor, c_BH: Tensor, weights: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    start = [h_BH.unsqueeze(0).contiguous(), c_BH.unsqueeze(0).contiguous()]
    learns = torch.is_grad_enabled()
    states_SBH, _, last_c_1BH = torch._VF.lstm(
        x_SBD, start, list(weights), True, 1, 0.0, learns, False, False
    )
    return states_SBH, last_c_1BH.squeeze(0)


def lstm(x_SBD: Tensor, h_BH: Tensor, c_BH: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Run one LSTM layer from a state.

    Args:
        x_SBD: float inputs, steps first.
        h_BH: the output before the first step.
        c_BH: the cell before the first step.
        weights: input weights ``[4H, D]``, recurrent weights ``[4H, H]``, input and recurrent biases
            ``[4H]``; gates in torch's order (input, forget, new, output).

    Returns:
        The outputs of every step, ``[S, B, H]``, and the cell after the last one, ``[B, H]``.
    """
    if torch.compiler.is_exporting():
        states_SBH, last_c_BH = lstm_op(x_SBD, h_BH, c_BH, list(weights))
        return states_SBH, last_c_BH
    return _fused_lstm(x_SBD, h_BH, c_BH, weights)


class HeldLSTM(nn.Module):
    """One LSTM layer (Hochreiter and Schmidhuber 1997, with forget gates); padding holds the cell.

    ``weight_drop`` drops recurrent weights in training, once a pass (Merity et al. 2017, arXiv 1708.02182).
    """

    hold_column: Tensor

    def __init__(self, inputs: int, hidden: int, weight_drop: float = 0.0) -> None:
        super().__init__()
        self.hidden = hidden
        self.weight_drop = weight_drop
        self.w_ih = nn.Parameter(torch.empty(4 * hidden, inputs))
        self.w_hh = nn.Parameter(torch.empty(4 * hidden, hidden))
        self.b_ih = nn.Parameter(torch.zeros(4 * hidden))
        self.b_hh = nn.Parameter(torch.zeros(4 * hidden))
        for weight in (self.w_ih, self.w_hh):
            for gate in weight.data.chunk(4):
                nn.init.xavier_uniform_(gate)
        nn.init.ones_(self.b_ih.data.chunk(4)[1])  # a forget gate that begins open
        column = torch.tensor([-1.0, 1.0, 0.0, 0.0]).repeat_interleave(hidden).unsqueeze(1)
        self.register_buffer("hold_column", column, persistent=False)

    def forward(
        self, x_BSD: Tensor, h_BH: Tensor, c_BH: Tensor, padded_BS: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the outputs ``[B, S, H]`` and the cell after the last real step ``[B, H]``.

        Args:
            x_BSD: float inputs.
            h_BH: the output before the first step.
            c_BH: the cell before the first step.
            padded_BS: 1.0 on padding, 0.0 on real steps; without it every step is real. The outputs of
                padded steps mean nothing.
        """
        w_ih: Tensor = self.w_ih
        w_hh = dropout(self.w_hh, self.weight_drop, self.training)
        if padded_BS is not None:
            w_ih = torch.cat([w_ih, self.hold_column.to(w_ih.dtype)], dim=1)
            x_BSD = torch.cat([x_BSD, HOLD * padded_BS.unsqueeze(-1)], dim=-1)
        x_SBD = x_BSD.transpose(0, 1)
        weights = (w_ih, w_hh, self.b_ih, self.b_hh)
        if torch.is_autocast_enabled(x_BSD.device.type):  # autocast itself leaves recurrences as they are
            kind = torch.get_autocast_dtype(x_BSD.device.type)
            short = [weight.to(kind) for weight in weights]
            states_SBH, last_c_BH = lstm(x_SBD.to(kind), h_BH.to(kind), c_BH.to(kind), short)
            return states_SBH.transpose(0, 1).float(), last_c_BH.float()
        states_SBH, last_c_BH = lstm(x_SBD, h_BH, c_BH, weights)
        return states_SBH.transpose(0, 1), last_c_BH
