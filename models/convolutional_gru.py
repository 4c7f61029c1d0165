"""Convolutional gated recurrent units: what rewrites every cell of a canvas at once.

Convolutions are written as one matrix product over a cell's neighbours, which is quicker than a convolution
for canvases this small.

Legend: B batch, N columns, C cells of a column, M maps, X cells seen.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad


def moved(cells_BNCM: Tensor, columns: int, cells: int = 0) -> Tensor:
    """Return what stands so many columns to the left of each cell and so many cells before it, 0 outside."""
    return pad(cells_BNCM, (0, 0, cells, -cells, columns, -columns))


def neighbours(cells_BNCM: Tensor, columns: int, width: int) -> Tensor:
    """Return each cell with the cells around it, ``[B, N, C, columns * width * M]``; zero outside."""
    around_n, around_c = columns // 2, width // 2
    return torch.cat(
        [
            moved(cells_BNCM, around_n - n, around_c - c) if (n, c) != (around_n, around_c) else cells_BNCM
            for n in range(columns)
            for c in range(width)
        ],
        dim=-1,
    )


def shifted(cells_BNCM: Tensor) -> Tensor:
    """Carry a third of the maps one column to the right and a third to the left."""
    third = cells_BNCM.shape[-1] // 3
    to_right, to_left = cells_BNCM[..., :third], cells_BNCM[..., third : 2 * third]
    rest = cells_BNCM[..., 2 * third :]
    return torch.cat([moved(to_right, 1), moved(to_left, -1), rest], dim=-1)


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
    ) -> None:
        """Make the weights.

        Args:
            maps: numbers a cell holds.
            kernel: columns a convolution sees, an odd number.
            kernel_width: cells of each of them that it sees, an odd number.
            diagonal: whether ``shifted`` cells are carried (Freivalds and Liepins 2017, arXiv 1702.08727).
            cutoff: c of the gates ``clip((1 + 2c) sigmoid(x) - c, 0, 1)``.
            sets: how many sets of weights are used in turn (parameter-sharing relaxation).
        """
        super().__init__()
        self.kernel, self.kernel_width = kernel, kernel_width
        self.cutoff, self.diagonal = cutoff, diagonal
        seen = kernel * kernel_width * maps
        # Gates begin open: the canvas is kept.
        self.gates = nn.ModuleList(_product(seen, 2 * maps, bias=1.0) for _ in range(sets))
        self.candidate = nn.ModuleList(_product(seen, maps, bias=0.0) for _ in range(sets))

    def forward(
        self, cells_BNCM: Tensor, step: int = 0, more: Tensor | None = None, newly: Tensor | None = None
    ) -> Tensor:
        """Return the cells after one step.

        Args:
            cells_BNCM: the canvas, or a part of its columns.
            step: chooses the weights where there are several sets.
            more: what else adds to update gate, reset gate and candidate, ``[B, N, C, 3M]``.
            newly: what the candidate is multiplied with, a mask of dropout.
        """
        turn, maps = step % len(self.gates), cells_BNCM.shape[-1]
        gates = self.gates[turn](self._seen(cells_BNCM))
        gates = gates if more is None else gates + more[..., : 2 * maps]
        update, reset = self._gate(gates).chunk(2, dim=-1)
        new = self.candidate[turn](self._seen(reset * cells_BNCM))
        new = torch.tanh(new if more is None else new + more[..., 2 * maps :])
        new = new if newly is None else new * newly
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
        parts = []
        for sets in (self.gates, self.candidate):
            for name in ("weight", "bias"):
                each = torch.stack([getattr(one, name) for one in sets])
                parts.append((each - each.mean(dim=0, keepdim=True)).square().sum())
        return torch.stack(parts).sum()


def _product(seen: int, made: int, bias: float) -> nn.Linear:
    product = nn.Linear(seen, made)
    nn.init.orthogonal_(product.weight)
    nn.init.constant_(product.bias, bias)
    return product
