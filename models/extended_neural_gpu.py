"""Translation without attention: the source is written on a canvas that convolutions rewrite at every step.

Kaiser and Bengio, "Can Active Memory Replace Attention?", 2016 (arXiv 1610.08613); section and equation
numbers below are that paper's. One network in the paper's three forms: what is spoken depends on nothing that
was spoken before (plain Neural GPU), on the last piece (Markovian), or on everything (Extended).

Nothing here is an attention weight. What can be told is *memory activity*: how much each cell of the canvas
changed while a piece was spoken.

Every row has its own number of columns, beyond which its canvas is zero at every step, so a sentence is
translated alike alone and in any batch.

Legend: B batch, S source pieces, N columns of the canvas, C cells of a column, M maps, T target
pieces, E embedding, V target vocabulary, X columns of a window. Piece id 0 is padding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from models.convolutional_gru import CGRU, column, neighbours

PADDING = 0


@dataclass(frozen=True)
class ExtendedNeuralGPUConfig:
    """The shape of the network; the paper's own has width 4, kernel 3 x 3, two layers and 512 maps.

    ``maps``: numbers a cell holds; ``width``: cells of a column, of which the first is read and written.
    ``kernel`` columns by ``kernel_width`` cells are seen by a convolution. ``encoder_layers`` and
    ``decoder_layers`` CGRUs make a step. ``steps`` the encoder takes; 0 is one for each column, as in the
    paper, and a row rests after its own. A source has ``columns`` columns for each of its pieces; it is
    written on the first of them, and its translation has as many pieces at most.
    ``form``: ``plain``, ``markovian`` or ``extended``.
    ``behind`` and ``ahead``: how many columns around the one being spoken a decoder step rewrites. ``ahead``
    of 0 is the whole canvas, as in the paper; a window makes the cost of a sentence linear in its length.
    ``diagonal``: every step carries a third of the maps one column to the right, and a third to the left
    (Freivalds and Liepins 2017, arXiv 1702.08727). In the decoder, whose place moves right by one a step, the
    first third travels with it: what a GRU calls its state.
    ``gate_cutoff`` c lets gates close wholly: ``clip((1 + 2c) sigmoid(x) - c, 0, 1)`` (c = 0.1 in Kaiser and
    Sutskever 2016, arXiv 1511.08228). ``relaxation``: that many sets of weights, which
    the encoder's steps use in turn.
    ``shared_embedding`` and the dropouts are as in the attention GRU; ``dropout`` acts on what is newly
    written to the canvas.
    """

    source_vocabulary: int
    target_vocabulary: int
    embedding: int = 192
    maps: int = 192
    width: int = 1
    kernel: int = 3
    kernel_width: int = 1
    encoder_layers: int = 1
    decoder_layers: int = 1
    steps: int = 8
    columns: int = 2
    form: Literal["plain", "markovian", "extended"] = "extended"
    behind: int = 2
    ahead: int = 6
    diagonal: bool = True
    gate_cutoff: float = 0.0
    relaxation: int = 1
    shared_embedding: bool = True
    dropout: float = 0.05
    embedding_dropout: float = 0.1
    readout_dropout: float = 0.2

    def __post_init__(self) -> None:
        """Refuse sizes no network can have."""
        least = dict.fromkeys(
            ("source_vocabulary", "target_vocabulary", "embedding", "maps", "width", "kernel", "kernel_width",
             "encoder_layers", "decoder_layers", "relaxation", "columns"), 1,
        ) | {"steps": 0, "behind": 0, "ahead": 0, "gate_cutoff": 0}  # fmt: skip
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"{name} must be at least {bound}, got {getattr(self, name)}")
        if self.form not in ("plain", "markovian", "extended"):
            raise ValueError(f"form must be 'plain', 'markovian' or 'extended', got {self.form!r}")
        if self.kernel % 2 == 0 or self.kernel_width % 2 == 0:
            raise ValueError("kernel and kernel_width must be odd: a cell is the centre of what it sees")
        if self.shared_embedding and self.source_vocabulary != self.target_vocabulary:
            raise ValueError("shared_embedding needs one vocabulary for both languages")


class Canvas(NamedTuple):
    """What the encoder made of the source; a decoder begins with it and does not change it."""

    cells_BNCM: Tensor
    real_BN: Tensor
    """1.0 on a row's own columns, 0.0 beyond."""
    activity_BN: Tensor
    """How much the last step of the encoder changed each column."""


State = tuple[Tensor, ...]


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
        self.layers = nn.ModuleList(_cgru(config) for _ in range(config.decoder_layers))
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
        self.layers = nn.ModuleList(_cgru(config) for _ in range(config.decoder_layers))
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


class ExtendedNeuralGPU(nn.Module):
    """The whole network: write the source, rewrite the canvas, then speak piece by piece."""

    def __init__(self, config: ExtendedNeuralGPUConfig) -> None:
        super().__init__()
        self.config = config
        self.target_embedding = nn.Embedding(config.target_vocabulary, config.embedding, PADDING)
        self.source_embedding = (
            self.target_embedding
            if config.shared_embedding
            else nn.Embedding(config.source_vocabulary, config.embedding, PADDING)
        )
        self.writing = nn.Linear(config.embedding, config.maps)
        self.encoder = nn.ModuleList(_cgru(config, config.relaxation) for _ in range(config.encoder_layers))
        self.decoder = _decoder(config)
        self.readout = nn.Linear(config.maps, config.embedding)
        self.output_bias = nn.Parameter(torch.zeros(config.target_vocabulary))
        self.embedding_dropout = nn.Dropout(config.embedding_dropout)
        self.readout_dropout = nn.Dropout(config.readout_dropout)
        for embedding in {self.source_embedding, self.target_embedding}:
            nn.init.normal_(embedding.weight, std=config.embedding**-0.5)
            with torch.no_grad():
                embedding.weight[PADDING].zero_()

    def encode(self, source_BS: Tensor) -> tuple[Canvas, State]:
        """Write the source on the canvas and rewrite it (section 2).

        Args:
            source_BS: int64 piece ids, right-padded with 0; every sentence has at least one piece.

        Returns:
            The canvas, and the decoder's first state.
        """
        length_B = (source_BS != PADDING).sum(dim=1)
        empty_columns = (self.config.columns - 1) * source_BS.shape[1]
        places_N = torch.arange(source_BS.shape[1] + empty_columns, device=source_BS.device)
        real_BN = (places_N < self.config.columns * length_B.unsqueeze(1)).to(self.output_bias.dtype)
        words_BSE = self.embedding_dropout(self._embed(self.source_embedding, source_BS))
        written_BSM = torch.tanh(self.writing(words_BSE)) * (source_BS != PADDING).unsqueeze(-1)
        empty = (0, 0, 0, self.config.width - 1, 0, empty_columns)
        cells_BNCM, activity_BN = self._rewrite(pad(written_BSM.unsqueeze(2), empty), real_BN)
        canvas = Canvas(cells_BNCM, real_BN, activity_BN)
        return canvas, self.decoder.start(canvas)

    def _rewrite(self, cells_BNCM: Tensor, real_BN: Tensor) -> tuple[Tensor, Tensor]:
        """Take the encoder's steps; without a fixed number, a row rests after one for each of its columns."""
        real_BN11 = real_BN[:, :, None, None]
        columns_B111 = real_BN.sum(dim=1)[:, None, None, None]
        before_BNCM = cells_BNCM
        for step in range(self.config.steps or real_BN.shape[1]):
            moved_BNCM = cells_BNCM
            for layer in self.encoder:
                moved_BNCM = layer(moved_BNCM, step) * real_BN11
            if not self.config.steps:
                moved_BNCM = torch.where(step < columns_B111, moved_BNCM, cells_BNCM)
            before_BNCM, cells_BNCM = cells_BNCM, moved_BNCM
        return cells_BNCM, (cells_BNCM - before_BNCM).abs().mean(dim=(2, 3))

    def decode(self, target_BT: Tensor, state: State, canvas: Canvas) -> tuple[Tensor, Tensor, State]:
        """Go on with given pieces: in training all of a sentence, in translating one at a time.

        Args:
            target_BT: int64 pieces that were spoken last; the first of a sentence is the beginning mark.
            state: the state to go on from.
            canvas: what ``encode`` made.

        Returns:
            The readouts ``[B, T, E]`` for ``logits``, the memory activity of the columns that the source was
            written on ``[B, T, S]``, and the next state.
        """
        words_BTE = self.embedding_dropout(self._embed(self.target_embedding, target_BT))
        reads, activities = [], []
        for word_BE in words_BTE.unbind(dim=1):
            read_BM, activity_BN, state = self.decoder(word_BE, state, canvas)
            reads.append(read_BM)
            activities.append(activity_BN)
        readout_BTE = self.readout_dropout(torch.tanh(self.readout(torch.stack(reads, dim=1))))
        activity_BTN = torch.stack(activities, dim=1)
        return readout_BTE, activity_BTN[..., : activity_BTN.shape[-1] // self.config.columns], state

    def logits(self, readout: Tensor) -> Tensor:
        """Return the logits of the next piece, ``[..., V]`` (eq. 5; output and input embedding are one)."""
        return linear(readout, self.target_embedding.weight, self.output_bias)

    def most(self, source_pieces: int) -> int:
        """Return how many pieces fit on the canvas of a source."""
        return self.config.columns * source_pieces - 1

    def disagreement(self) -> Tensor:
        """Return how far the sets of weights are from their mean: what a relaxed network is pulled by."""
        units = [module for module in self.encoder if isinstance(module, CGRU)]
        return torch.stack([unit.disagreement() for unit in units]).sum()

    def forward(self, source_BS: Tensor, target_BT: Tensor) -> Tensor:
        """Return the readouts ``[B, T, E]`` of a sentence whose translation is given (teacher forcing)."""
        canvas, state = self.encode(source_BS)
        return self.decode(target_BT, state, canvas)[0]

    def _embed(self, embedding: nn.Embedding, pieces: Tensor) -> Tensor:
        words: Tensor = embedding(pieces) * self.config.embedding**0.5
        return words


def _cgru(config: ExtendedNeuralGPUConfig, sets: int = 1) -> CGRU:
    return CGRU(
        config.maps,
        config.kernel,
        config.kernel_width,
        diagonal=config.diagonal,
        cutoff=config.gate_cutoff,
        sets=sets,
        dropout=config.dropout,
    )


def _decoder(config: ExtendedNeuralGPUConfig) -> FixedCanvas | WholeCanvas | Window:
    if config.form != "extended":
        return FixedCanvas(config)
    return Window(config) if config.ahead else WholeCanvas(config)
