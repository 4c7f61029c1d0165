"""A GRU whose state can be held: the one recurrence that every text encoder here is built from.

A step's update gate gets one more input, the *hold* logit. Large holds the state, so right-padded steps
change nothing and no sequence lengths or packing are needed, in either direction. The DMN+ attention GRU is
the same recurrence, driven by its gate alone: hold = logit(1 - g).

The recurrence is a single operator, so that the export can write it as a single ONNX GRU node.

Legend: B batch, S steps, D inputs, H hidden.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

HOLD = 1e4
"""The hold logit of a padded step: sigmoid(1e4) is exactly 1 in float32."""


@torch.library.custom_op("engram::gru", mutates_args=())
def gru_op(  # noqa: D103 - documented on gru()
    x_SBD: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
) -> Tensor:
    return _fused_gru(x_SBD, w_ih, w_hh, b_ih, b_hh).clone()


@gru_op.register_fake
def _(x_SBD: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> Tensor:
    return x_SBD.new_empty(x_SBD.shape[0], x_SBD.shape[1], w_hh.shape[1])


def _fused_gru(x_SBD: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> Tensor:
    start = x_SBD.new_zeros(1, x_SBD.shape[1], w_hh.shape[1])
    states_SBH: Tensor
    states_SBH, _ = torch._VF.gru(x_SBD, start, [w_ih, w_hh, b_ih, b_hh], True, 1, 0.0, False, False, False)
    return states_SBH


def gru(x_SBD: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> Tensor:
    """Run one GRU layer from a zero state; weights in torch's order (reset, update, new).

    Args:
        x_SBD: float inputs, steps first.
        w_ih: input weights ``[3H, D]``.
        w_hh: recurrent weights ``[3H, H]``.
        b_ih: input biases ``[3H]``.
        b_hh: recurrent biases ``[3H]``.

    Returns:
        The states after every step, ``[S, B, H]``.
    """
    if torch.compiler.is_exporting():
        states_SBH: Tensor = gru_op(x_SBD, w_ih, w_hh, b_ih, b_hh)
        return states_SBH
    return _fused_gru(x_SBD, w_ih, w_hh, b_ih, b_hh)


class HeldGRU(nn.Module):
    """A GRU that holds its state wherever ``hold`` is large (Cho et al. 2014, reset after the product)."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.w_ih = nn.Parameter(torch.empty(3 * hidden, inputs))
        self.w_hh = nn.Parameter(torch.empty(3 * hidden, hidden))
        self.b_ih = nn.Parameter(torch.zeros(3 * hidden))
        self.b_hh = nn.Parameter(torch.zeros(3 * hidden))
        for weight in (self.w_ih, self.w_hh):
            for gate in weight.data.chunk(3):
                nn.init.xavier_uniform_(gate)

    def forward(self, x_BSD: Tensor, hold_BS: Tensor) -> Tensor:
        """Return the states ``[B, S, H]``.

        Args:
            x_BSD: float inputs.
            hold_BS: 0 on real steps, ``HOLD`` on padded ones.
        """
        w_ih = torch.cat([self.w_ih, _update_column(self.hidden, self.w_ih)], dim=1)
        x_BSE = torch.cat([x_BSD, hold_BS.unsqueeze(-1)], dim=-1)
        return gru(x_BSE.transpose(0, 1), w_ih, self.w_hh, self.b_ih, self.b_hh).transpose(0, 1)


class AttentionGRU(nn.Module):
    """The attention GRU: the scalar gate takes the place of the update gate (Xiong et al. 2016, eq. 10-12).

    ``h_i = g_i * h~_i + (1 - g_i) * h_{i-1}``. Only the reset gate and the candidate have weights; the update
    rows are zero and the added column carries ``logit(1 - g)``.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.w_ih = nn.Parameter(torch.empty(2 * hidden, hidden))
        self.w_hh = nn.Parameter(torch.empty(2 * hidden, hidden))
        self.b_ih = nn.Parameter(torch.zeros(2 * hidden))
        self.b_hh = nn.Parameter(torch.zeros(2 * hidden))
        for weight in (self.w_ih, self.w_hh):
            for gate in weight.data.chunk(2):
                nn.init.xavier_uniform_(gate)

    def forward(self, facts_BFH: Tensor, gate_BF: Tensor, padded_BF: Tensor) -> Tensor:
        """Return the last state ``[B, H]``, the episode; a padded fact leaves it as it is.

        Args:
            facts_BFH: the facts.
            gate_BF: the gate of each fact, in 0..1.
            padded_BF: 1.0 on padding, 0.0 on real facts.
        """
        bounded_BF = gate_BF.clamp(1e-8, 1 - 1e-7)  # logit(0) and logit(1) are infinite
        hold_BF = torch.log1p(-bounded_BF) - torch.log(bounded_BF) + HOLD * padded_BF
        w_ih = torch.cat([self._with_update(self.w_ih), _update_column(self.hidden, self.w_ih)], dim=1)
        x_BFE = torch.cat([facts_BFH, hold_BF.unsqueeze(-1)], dim=-1)
        states_FBH = gru(
            x_BFE.transpose(0, 1),
            w_ih,
            self._with_update(self.w_hh),
            self._with_update(self.b_ih),
            self._with_update(self.b_hh),
        )
        return states_FBH[-1]

    def _with_update(self, weight: Tensor) -> Tensor:
        reset, new = weight.chunk(2)
        return torch.cat([reset, torch.zeros_like(reset), new])


def _update_column(hidden: int, like: Tensor) -> Tensor:
    rest = like.new_zeros(hidden, 1)
    return torch.cat([rest, torch.ones_like(rest), rest])
