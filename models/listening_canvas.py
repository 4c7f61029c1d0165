"""A decoder whose every cell listens, and where any cell may speak: a deviation from the Extended Neural GPU.

The paper (Kaiser and Bengio 2016, arXiv 1610.08613, section 3) writes what was spoken to a tape and reads
column t, so a sentence must have been laid out in the target's order before it is spoken. Here

1. every cell hears the last piece and what was read at the last step;
2. every cell is reminded at every step of what the encoder left in it;
3. what is read is, for each map by itself, the smooth maximum over all cells: ``sum(x e^x) / sum(e^x)``.

It stays an active memory: all cells are rewritten at every step, and no cell has a weight, an address or a
key. Which cell is heard differs from map to map and follows from nothing but what the cells hold.

Legend: B batch, N columns of the canvas, C cells of a column, M maps, E embedding, X = 3M for each layer.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.canvas import Canvas, ExtendedNeuralGPUConfig, State
from models.convolutional_gru import neighbours, shifted

FAR_BELOW = -1e4
"""What is added where there is no cell; finite also in half precision."""


class ListeningUnit(nn.Module):
    """A gated recurrent unit in every cell, with one set of weights for all.

    The reset gate acts on what was seen, after the product (as in cuDNN's GRU), so that update gate, reset
    gate and candidate are one product.
    """

    def __init__(self, config: ExtendedNeuralGPUConfig) -> None:
        super().__init__()
        self.kernel, self.diagonal, self.maps = config.decoder_kernel, config.diagonal, config.maps
        self.hearing = nn.Linear(config.embedding + config.maps, 3 * config.maps)
        self.reminding = nn.Linear(config.maps, 3 * config.maps, bias=False)
        self.seeing = nn.Linear(config.decoder_kernel * config.maps, 3 * config.maps, bias=False)
        for weight in self.seeing.weight.data.chunk(3):
            nn.init.orthogonal_(weight)
        with torch.no_grad():
            self.hearing.bias[: config.maps] += 1.0  # the update gate begins open: the canvas is kept

    def forward(self, cells_BNCM: Tensor, heard_BX: Tensor, reminder_BNCX: Tensor) -> Tensor:
        """Return the cells after one step.

        Args:
            cells_BNCM: the canvas.
            heard_BX: the last piece and what was read last, ``[B, E + M]``.
            reminder_BNCX: what the encoder left in the cells, made by ``reminding``.
        """
        seen_BNCX = self.seeing(neighbours(cells_BNCM, self.kernel, 1) if self.kernel > 1 else cells_BNCM)
        told_BNCX = reminder_BNCX + self.hearing(heard_BX)[:, None, None]
        parts = (2 * self.maps, self.maps)
        (seen_gates, seen_new), (told_gates, told_new) = (
            one.split(parts, dim=-1) for one in (seen_BNCX, told_BNCX)
        )
        update, reset = torch.sigmoid(seen_gates + told_gates).chunk(2, dim=-1)
        new = torch.tanh(told_new + reset * seen_new)
        kept = shifted(cells_BNCM) if self.diagonal else cells_BNCM
        written_BNCM: Tensor = new + update * (kept - new)
        return written_BNCM


class ListeningCanvas(nn.Module):
    """Rewrite every cell with the last piece in every ear, then read the smooth maximum of each map.

    The state is the canvas and what was read last, ``[B, M]``.
    """

    def __init__(self, config: ExtendedNeuralGPUConfig) -> None:
        super().__init__()
        self.units = nn.ModuleList(ListeningUnit(config) for _ in range(config.decoder_layers))
        self.left = nn.LayerNorm(config.maps)
        self.held = nn.LayerNorm(config.maps)
        self.voice = nn.Linear(config.maps, config.maps)
        self.said = nn.LayerNorm(config.maps)
        self.dropout = nn.Dropout(config.dropout)

    def reminder(self, cells_BNCM: Tensor) -> Tensor:
        """Return what every step is told of the cells that the encoder left, ``[B, N, C, layers * 3M]``."""
        left_BNCM = self.dropout(self.left(cells_BNCM))
        units = [unit for unit in self.units if isinstance(unit, ListeningUnit)]
        return torch.cat([unit.reminding(left_BNCM) for unit in units], dim=-1)

    def start(self, canvas: Canvas) -> State:
        """Return the state before the first piece: nothing was read."""
        return canvas.cells_BNCM, canvas.cells_BNCM[:, 0, 0] * 0

    def forward(self, word_BE: Tensor, state: State, canvas: Canvas) -> tuple[Tensor, Tensor, State]:
        """Tell every cell the last piece, rewrite the canvas, and read it.

        Returns:
            What is read ``[B, M]``, the activity ``[B, N]``, and the next state.
        """
        before_BNCM, read_BM = state
        real_BN11 = canvas.real_BN[:, :, None, None].to(before_BNCM.dtype)
        heard_BX = torch.cat([word_BE, read_BM.to(word_BE.dtype)], dim=-1)
        cells_BNCM = before_BNCM
        reminders = canvas.reminder_BNCX.chunk(len(self.units), dim=-1)
        for unit, reminder_BNCX in zip(self.units, reminders, strict=True):
            cells_BNCM = unit(cells_BNCM, heard_BX, reminder_BNCX) * real_BN11
        read_BM = self.said(self._loudest(cells_BNCM, real_BN11))
        # Nobody asks for the activity while the network is trained, and it costs a pass over the canvas.
        activity_BN = canvas.activity_BN if self.training else _change(cells_BNCM, before_BNCM)
        return read_BM, activity_BN, (cells_BNCM, read_BM)

    def _loudest(self, cells_BNCM: Tensor, real_BN11: Tensor) -> Tensor:
        """Return the smooth maximum of each map over the cells of a row, ``[B, M]``."""
        voice_BXM = self.voice(self.held(cells_BNCM)).flatten(1, 2)
        absent_BX1 = (FAR_BELOW * (1 - real_BN11)).expand(-1, -1, cells_BNCM.shape[2], -1).flatten(1, 2)
        read_BM: Tensor = (voice_BXM * torch.softmax(voice_BXM + absent_BX1, dim=1)).sum(dim=1)
        return read_BM


def _change(after_BNCM: Tensor, before_BNCM: Tensor) -> Tensor:
    return (after_BNCM - before_BNCM).abs().mean(dim=(2, 3))
