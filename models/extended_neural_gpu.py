"""Translation without attention: the source is written on a canvas that convolutions rewrite at every step.

Kaiser and Bengio, "Can Active Memory Replace Attention?", 2016 (arXiv 1610.08613); section and equation
numbers below are that paper's. One network in the paper's three forms: what is spoken depends on nothing that
was spoken before (plain Neural GPU), on the last piece (Markovian), or on everything (Extended).

Nothing here is an attention weight. What can be told is *memory activity*: how much each cell of the canvas
changed while a piece was spoken.

Every row has its own number of columns, beyond which its canvas is zero at every step, so a sentence is
translated alike alone and in any batch.

Legend: B batch, S source pieces, N columns of the canvas, C cells of a column, M maps, T target
pieces, E embedding, V target vocabulary. Piece id 0 is padding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from models.canvas import Canvas, ExtendedNeuralGPUConfig, State, cgru
from models.canvas_decoders import FixedCanvas, WholeCanvas, Window
from models.convolutional_gru import CGRU
from models.listening_canvas import ListeningCanvas

__all__ = ["ExtendedNeuralGPU", "ExtendedNeuralGPUConfig"]

PADDING = 0


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
        self.encoder = nn.ModuleList(cgru(config, config.relaxation) for _ in range(config.encoder_layers))
        self.decoder = _decoder(config)
        self.readout = nn.Linear(config.maps, config.embedding)
        self.output_bias = nn.Parameter(torch.zeros(config.target_vocabulary))
        self.canvas_dropout = nn.Dropout(config.dropout)
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
        reminder_BNCX = (
            self.decoder.reminder(cells_BNCM)
            if isinstance(self.decoder, ListeningCanvas)
            else cells_BNCM[..., :0]
        )
        canvas = Canvas(cells_BNCM, real_BN, activity_BN, reminder_BNCX)
        return canvas, self.decoder.start(canvas)

    def _rewrite(self, cells_BNCM: Tensor, real_BN: Tensor) -> tuple[Tensor, Tensor]:
        """Take the encoder's steps; without a fixed number, a row rests after one for each of its columns."""
        real_BN11 = real_BN[:, :, None, None].to(cells_BNCM.dtype)
        columns_B111 = real_BN.sum(dim=1)[:, None, None, None]
        newly_BNCM = self.canvas_dropout(torch.ones_like(cells_BNCM)) if self.training else None
        before_BNCM = cells_BNCM
        for step in range(self.config.steps or real_BN.shape[1]):
            moved_BNCM = cells_BNCM
            for layer in self.encoder:
                moved_BNCM = layer(moved_BNCM, step, newly=newly_BNCM) * real_BN11
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
        """Return how many pieces a translation has at most: where pieces have columns, as many as fit."""
        if self.config.read == "maximum":
            return 2 * source_pieces + 10
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


def _decoder(config: ExtendedNeuralGPUConfig) -> FixedCanvas | WholeCanvas | Window | ListeningCanvas:
    if config.form != "extended":
        return FixedCanvas(config)
    if config.read == "maximum":
        return ListeningCanvas(config)
    return Window(config) if config.ahead else WholeCanvas(config)
