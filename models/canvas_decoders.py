"""Decoders of a canvas that read one of its columns: the paper's, and one that keeps to a window.

Sections and equations are of Kaiser and Bengio 2016 (arXiv 1610.08613).

Legend: B batch, N columns of the canvas, C cells of a column, M maps, E embedding, X columns of a window.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from models.canvas import Canvas, ExtendedNeuralGPUConfig, State, cgru
from models.convolutional_gru import column, neighbours


class FixedCanvas(nn.Module):
    """The decoder of the plain and of the Markovian form (section 2): column t is read, nothing is rewritten.

    The state is the number of pieces spoken, ``[B]``. The Markovian form also reads the last piece.
    """

    def __init__(self, config: ExtendedNeuralGPUConfig) -> None:
        super().__init__()
        self.told = nn.Linear(config.embedding, config.maps) if config.form == "markovian" else None

    def start(self, canvas: Canvas) -> State:
        """Return the state before the first piece."""
        return (canvas.real_BN[:, 0].long() * 0,)

    def forward(self, word_BE: Tensor, state: State, canvas: Canvas) -> tuple[Tensor, Tensor, State]:
        """Return what is read ``[B, M]``, the activity ``[B, N]``, and the next state."""
        (t_B,) = state
        read_BM = column(canvas.cells_BNCM, t_B)[:, 0]
        if self.told is not None:
            read_BM = torch.tanh(read_BM + self.told(word_BE))
        return read_BM, canvas.activity_BN, (t_B + 1,)


class WholeCanvas(nn.Module):
    """The decoder of the paper (section 3, eq. 4-5): every column is rewritten for every piece.

    The state is the canvas, the tape ``[B, N, E]`` of spoken pieces, and the number of them.
    """

    def __init__(self, config: ExtendedNeuralGPUConfig) -> None:
        super().__init__()
        self.kernel, self.embedding = config.kernel, config.embedding
        self.layers = nn.ModuleList(cgru(config) for _ in range(config.decoder_layers))
        self.tape = nn.ModuleList(
            nn.Linear(config.kernel * config.embedding, 3 * config.maps, bias=False)
            for _ in range(config.decoder_layers)
        )

    def start(self, canvas: Canvas) -> State:
        """Return the state before the first piece: an empty tape."""
        tape_BNE = (canvas.real_BN * 0).unsqueeze(-1).expand(-1, -1, self.embedding)
        return canvas.cells_BNCM, tape_BNE, canvas.real_BN[:, 0].long() * 0

    def forward(self, word_BE: Tensor, state: State, canvas: Canvas) -> tuple[Tensor, Tensor, State]:
        """Write the last piece to the tape, rewrite the canvas, and read column t.

        Returns:
            What is read ``[B, M]``, the activity ``[B, N]``, and the next state.
        """
        before_BNCM, tape_BNE, t_B = state
        places_N = torch.arange(tape_BNE.shape[1], device=t_B.device)
        here_BN1 = (places_N == (t_B - 1).unsqueeze(1)).unsqueeze(-1)
        tape_BNE = torch.where(here_BN1, word_BE.unsqueeze(1), tape_BNE)
        real_BN11 = canvas.real_BN[:, :, None, None]
        cells_BNCM = before_BNCM
        for layer, tape in zip(self.layers, self.tape, strict=True):
            more_BN1X = tape(neighbours(tape_BNE.unsqueeze(2), self.kernel, 1))  # the same for all cells
            cells_BNCM = layer(cells_BNCM, more=more_BN1X) * real_BN11
        activity_BN = (cells_BNCM - before_BNCM).abs().mean(dim=(2, 3))
        return column(cells_BNCM, t_B)[:, 0], activity_BN, (cells_BNCM, tape_BNE, t_B + 1)


class Window(nn.Module):
    """A deviation: only the columns around the one being spoken are rewritten.

    Columns further right stay as the encoder left them until the window reaches them, and what has left the
    window is forgotten, so a step costs the same for every length. The state is the window
    ``[B, behind + 1 + ahead, C, M]``, the last pieces ``[B, behind + 1, E]`` and the number of pieces spoken.
    """

    def __init__(self, config: ExtendedNeuralGPUConfig) -> None:
        super().__init__()
        self.kernel, self.behind, self.ahead = config.kernel, config.behind, config.ahead
        self.embedding = config.embedding
        self.layers = nn.ModuleList(cgru(config) for _ in range(config.decoder_layers))
        self.tape = nn.ModuleList(
            nn.Linear(config.kernel * config.embedding, 3 * config.maps, bias=False)
            for _ in range(config.decoder_layers)
        )

    def start(self, canvas: Canvas) -> State:
        """Return the state before the first piece: the window stands one column before the canvas."""
        fits = pad(canvas.cells_BNCM, (0, 0, 0, 0, self.behind + 1, self.ahead))
        window = fits[:, : self.behind + 1 + self.ahead]
        tape = canvas.real_BN[:, :1, None].expand(-1, self.behind + 1, self.embedding) * 0
        return window, tape, canvas.real_BN[:, 0].long() * 0

    def forward(self, word_BE: Tensor, state: State, canvas: Canvas) -> tuple[Tensor, Tensor, State]:
        """Move the window right by one, rewrite it, and read the column being spoken.

        Returns:
            What is read ``[B, M]``, the activity ``[B, N]``, and the next state.
        """
        window_BXCM, tape_BXE, t_B = state
        entering_BCM = column(canvas.cells_BNCM, t_B + self.ahead)
        before_BXCM = torch.cat([window_BXCM[:, 1:], entering_BCM.unsqueeze(1)], dim=1)
        tape_BXE = torch.cat([tape_BXE[:, 1:], word_BE.unsqueeze(1)], dim=1)
        offset_X = torch.arange(-self.behind, self.ahead + 1, device=t_B.device)
        place_BX = t_B.unsqueeze(1) + offset_X
        real_BX = (place_BX >= 0) & (place_BX < canvas.real_BN.sum(dim=1, keepdim=True))
        real_BX11 = real_BX[:, :, None, None].to(before_BXCM.dtype)
        cells_BXCM = before_BXCM
        for layer, tape in zip(self.layers, self.tape, strict=True):
            cells_BXCM = layer(cells_BXCM, more=self._told(tape, tape_BXE)) * real_BX11
        change_BX = (cells_BXCM - before_BXCM).abs().mean(dim=(2, 3))
        here_BXN = place_BX.unsqueeze(-1) == torch.arange(canvas.real_BN.shape[1], device=t_B.device)
        activity_BN = (change_BX.unsqueeze(1) @ here_BXN.to(change_BX.dtype)).squeeze(1)
        return cells_BXCM[:, self.behind, 0], activity_BN, (cells_BXCM, tape_BXE, t_B + 1)

    def _told(self, tape: nn.Module, tape_BXE: Tensor) -> Tensor:
        """Convolve the tape: column t sees piece t - 1 to its left; columns ahead see nothing."""
        written = pad(tape_BXE, (0, 0, 0, self.kernel // 2)).unsqueeze(2)
        seen = neighbours(written, self.kernel, 1)[:, 1 : self.behind + 2]
        told: Tensor = tape(seen)
        return pad(told, (0, 0, 0, 0, 0, self.ahead))
