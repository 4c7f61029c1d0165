"""Convolutional gated recurrent units: what rewrites every cell of a canvas at once.

Convolutions are written as one matrix product over a cell's neighbours, which is quicker than a convolution
for canvases this small.

Legend: B batch, N columns, C cells of a column, M maps, X cells seen.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad


def neighbours(cells_BNCM: Tensor, columns: int, width: int) -> Tensor:
    """Return each cell with the cells around it, ``[B, N, C, columns * width * M]``; zero outside."""
    around_n, around_c = columns // 2, width // 2
    padded = pad(cells_BNCM, (0, 0, around_c, around_c, around_n, around_n))
    rows, cells = cells_BNCM.shape[1], cells_BNCM.shape[2]
    return torch.cat(
        [padded[:, n : n + rows, c : c + cells] for n in range(columns) for c in range(width)], dim=-1
    )


def shifted(cells_BNCM: Tensor) -> Tensor:
    """Carry a third of the maps one column to the right and a third to the left."""
    third = cells_BNCM.shape[-1] // 3
    right = pad(cells_BNCM[:, :-1, :, :third], (0, 0, 0, 0, 1, 0))
    left = pad(cells_BNCM[:, 1:, :, third : 2 * third], (0, 0, 0, 0, 0, 1))
    return torch.cat([right, left, cells_BNCM[..., 2 * third :]], dim=-1)


def column(cells_BNCM: Tensor, place_B: Tensor) -> Tensor:
    """Return one column of each row, ``[B, C, M]``; zeros beyond the canvas."""
    last = cells_BNCM.shape[1] - 1
    index = place_B.clamp(0, last)[:, None, None, None].expand(-1, 1, *cells_BNCM.shape[2:])
    inside_B11 = (place_B <= last)[:, None, None].to(cells_BNCM.dtype)
    return cells_BNCM.gather(1, index).squeeze(1) * inside_B11


class CGRU(nn.Module):
    """A convolutional gated recurrent unit (Kaiser and Sutskever 2016, arXiv 1511.08228, section 2).

    ``s' = u * s + (1 - u) * tanh(U * (r * s) + B)``; the gates ``u`` and ``r`` are convolutions of ``s`` too.
    What a decoder reads besides adds to all three before the nonlinearities.
    """

    def __init__(
        self,
        maps: int,
        kernel: int,
        kernel_width: int = 1,
        *,
        diagonal: bool = False,
        cutoff: float = 0.0,
        sets: int = 1,
        dropout: float = 0.0,
    ) -> None:
        """Make the weights.

        Args:
            maps: numbers a cell holds.
            kernel: columns a convolution sees, an odd number.
            kernel_width: cells of each of them that it sees, an odd number.
            diagonal: whether ``shifted`` cells are carried (Freivalds and Liepins 2017, arXiv 1702.08727).
            cutoff: c of the gates ``clip((1 + 2c) sigmoid(x) - c, 0, 1)``.
            sets: how many sets of weights are used in turn (parameter-sharing relaxation).
            dropout: the part of what is newly written that is left out in training.
        """
        super().__init__()
        self.kernel, self.kernel_width = kernel, kernel_width
        self.cutoff, self.diagonal = cutoff, diagonal
        seen = kernel * kernel_width * maps
        self.gates = nn.Parameter(torch.empty(sets, 2 * maps, seen))
        self.candidate = nn.Parameter(torch.empty(sets, maps, seen))
        self.gates_bias = nn.Parameter(torch.empty(sets, 2 * maps))
        self.candidate_bias = nn.Parameter(torch.zeros(sets, maps))
        self.dropout = nn.Dropout(dropout)
        nn.init.ones_(self.gates_bias)  # gates begin open: the canvas is kept
        for weight in (*self.gates.data, *self.candidate.data):
            nn.init.orthogonal_(weight)

    def forward(self, cells_BNCM: Tensor, step: int = 0, more: Tensor | None = None) -> Tensor:
        """Return the cells after one step.

        Args:
            cells_BNCM: the canvas, or a part of its columns.
            step: chooses the weights where there are several sets.
            more: what else adds to update gate, reset gate and candidate, ``[B, N, C, 3M]``.
        """
        turn, maps = step % len(self.gates), cells_BNCM.shape[-1]
        gates = linear(self._seen(cells_BNCM), self.gates[turn], self.gates_bias[turn])
        gates = gates if more is None else gates + more[..., : 2 * maps]
        update, reset = self._gate(gates).chunk(2, dim=-1)
        new = linear(self._seen(reset * cells_BNCM), self.candidate[turn], self.candidate_bias[turn])
        new = self.dropout(torch.tanh(new if more is None else new + more[..., 2 * maps :]))
        kept = shifted(cells_BNCM) if self.diagonal else cells_BNCM
        written_BNCM: Tensor = new + update * (kept - new)
        return written_BNCM

    def _seen(self, cells_BNCM: Tensor) -> Tensor:
        return neighbours(cells_BNCM, self.kernel, self.kernel_width)

    def _gate(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(x)
        if self.cutoff == 0:
            return gate
        return ((1 + 2 * self.cutoff) * gate - self.cutoff).clamp(0, 1)

    def disagreement(self) -> Tensor:
        """Return how far the sets of weights are from their mean, squared and summed."""
        parts = [(sets - sets.mean(dim=0, keepdim=True)).square().sum() for sets in self.parameters()]
        return torch.stack(parts).sum()
