"""Translation with attention: a bidirectional GRU reads, a GRU writes and looks back at every step.

Bahdanau, Cho, Bengio, "Neural Machine Translation by Jointly Learning to Align and Translate", 2015
(arXiv 1409.0473); section and equation numbers below are that paper's.

Padding gets an alignment of exactly zero and every recurrence holds its state over it, so a sentence is
translated alike alone and in any batch.

Legend: B batch, S source pieces, T target pieces, E embedding, C context (both encoder directions), H hidden,
A alignment, V target vocabulary. Piece id 0 is padding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from models.recurrent import HOLD, HeldGRU

PADDING = 0
FAR_BELOW = -1e9
"""Added to the energy of a padded source piece: finite, so that no row can become NaN."""


@dataclass(frozen=True)
class AttentionGRUConfig:
    """The shape of the network; the paper's own is larger (E 620, H 1000, A 1000).

    ``shared_embedding``: source, target and output share one table, for which they need one vocabulary;
    otherwise only target and output do (Press and Wolf 2017, arXiv 1608.05859).
    ``embedding_dropout`` acts on embedded pieces, ``context_dropout`` on the encoder's states,
    ``readout_dropout`` before the last layer.
    """

    source_vocabulary: int
    target_vocabulary: int
    embedding: int = 192
    encoder_hidden: int = 160
    hidden: int = 256
    alignment: int = 160
    shared_embedding: bool = True
    embedding_dropout: float = 0.2
    context_dropout: float = 0.2
    readout_dropout: float = 0.3

    def __post_init__(self) -> None:
        """Refuse sizes no network can have."""
        sizes = (
            "source_vocabulary",
            "target_vocabulary",
            "embedding",
            "encoder_hidden",
            "hidden",
            "alignment",
        )
        for name in sizes:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.shared_embedding and self.source_vocabulary != self.target_vocabulary:
            raise ValueError("shared_embedding needs one vocabulary for both languages")


class Source(NamedTuple):
    """What the encoder hands to every step of the decoder; it does not change."""

    keys_BSA: Tensor
    """``U h_j`` of section A.1.2, computed once a sentence."""
    states_BSC: Tensor
    real_BS: Tensor
    """1.0 on real pieces, 0.0 on padding."""


class GRUCell(nn.Module):
    """One step of a GRU over a word and a context (section A.1.1, reset after the product).

    The words of a whole sentence are projected at once, before the first step.
    """

    def __init__(self, embedding: int, context: int, hidden: int) -> None:
        super().__init__()
        self.words = nn.Linear(embedding, 3 * hidden)
        self.context = nn.Linear(context, 3 * hidden, bias=False)
        self.own = nn.Linear(hidden, 3 * hidden)
        for layer, fill in (
            (self.words, nn.init.xavier_uniform_),
            (self.context, nn.init.xavier_uniform_),
            (self.own, nn.init.orthogonal_),
        ):
            for gate in layer.weight.data.chunk(3):
                fill(gate)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, words_BG: Tensor, context_BC: Tensor, state_BH: Tensor) -> Tensor:
        """Return the next state ``[B, H]``.

        Args:
            words_BG: the projected word, ``[B, 3H]``: reset, update, new.
            context_BC: what was found.
            state_BH: the state before.
        """
        reset_BH, update_BH, new_BH = (words_BG + self.context(context_BC)).chunk(3, dim=-1)
        own_reset_BH, own_update_BH, own_new_BH = self.own(state_BH).chunk(3, dim=-1)
        new_BH = torch.tanh(new_BH + torch.sigmoid(reset_BH + own_reset_BH) * own_new_BH)
        return new_BH + torch.sigmoid(update_BH + own_update_BH) * (state_BH - new_BH)


class Alignment(nn.Module):
    """The alignment model (section A.1.2): ``e_ij = v . tanh(W s + U h_j)``, softmax over j (eq. 6)."""

    def __init__(self, hidden: int, context: int, alignment: int) -> None:
        super().__init__()
        self.query = nn.Linear(hidden, alignment)
        self.key = nn.Linear(context, alignment, bias=False)
        self.energy = nn.Linear(alignment, 1, bias=False)

    def forward(self, state_BTH: Tensor, source: Source) -> tuple[Tensor, Tensor]:
        """Return the contexts ``c_i`` ``[B, T, C]`` (eq. 5) and the alignment ``[B, T, S]``."""
        query_BT1A = self.query(state_BTH).unsqueeze(2)
        energy_BTS = self.energy(torch.tanh(query_BT1A + source.keys_BSA.unsqueeze(1))).squeeze(-1)
        real_B1S = source.real_BS.unsqueeze(1)
        alignment_BTS = (energy_BTS.float() + FAR_BELOW * (1 - real_B1S)).softmax(dim=-1) * real_B1S
        return alignment_BTS.to(source.states_BSC.dtype) @ source.states_BSC, alignment_BTS


class Decoder(nn.Module):
    """The decoder's recurrence (section 3.1): look from the last state, then move on with what was found."""

    def __init__(self, config: AttentionGRUConfig) -> None:
        super().__init__()
        context = 2 * config.encoder_hidden
        self.alignment = Alignment(config.hidden, context, config.alignment)
        self.cell = GRUCell(config.embedding, context, config.hidden)

    def forward(
        self, words_BTE: Tensor, state_BH: Tensor, source: Source
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the states ``[B, T, H]``, the contexts, the alignment, and the last state ``[B, H]``.

        ``c_i`` comes from ``s_{i-1}``, and ``s_i = GRU([y_{i-1}; c_i], s_{i-1})`` (eq. 4-6, section A.2.2).
        """
        words_BTG = self.cell.words(words_BTE)
        states, contexts, alignments = [], [], []
        for words_BG in words_BTG.unbind(dim=1):
            context_B1C, alignment_B1S = self.alignment(state_BH.unsqueeze(1), source)
            context_BC = context_B1C.squeeze(1)
            state_BH = self.cell(words_BG, context_BC, state_BH)
            states.append(state_BH)
            contexts.append(context_BC)
            alignments.append(alignment_B1S)
        stacked = torch.stack(states, dim=1), torch.stack(contexts, dim=1), torch.cat(alignments, dim=1)
        return *stacked, state_BH


class AttentionGRU(nn.Module):
    """The whole network: read the source, then for each piece look, move on, and speak."""

    def __init__(self, config: AttentionGRUConfig) -> None:
        super().__init__()
        self.config = config
        hidden, context = config.hidden, 2 * config.encoder_hidden
        self.target_embedding = nn.Embedding(config.target_vocabulary, config.embedding, PADDING)
        self.source_embedding = (
            self.target_embedding
            if config.shared_embedding
            else nn.Embedding(config.source_vocabulary, config.embedding, PADDING)
        )
        self.reading_forward = HeldGRU(config.embedding, config.encoder_hidden)
        self.reading_backward = HeldGRU(config.embedding, config.encoder_hidden)
        self.decoder = Decoder(config)
        self.start_state = nn.Linear(config.encoder_hidden, hidden)
        self.readout = nn.Linear(hidden + context + config.embedding, config.embedding)
        self.output_bias = nn.Parameter(torch.zeros(config.target_vocabulary))
        self.embedding_dropout = nn.Dropout(config.embedding_dropout)
        self.context_dropout = nn.Dropout(config.context_dropout)
        self.readout_dropout = nn.Dropout(config.readout_dropout)
        self._initialise()

    def _initialise(self) -> None:
        for embedding in (self.source_embedding, self.target_embedding):
            nn.init.normal_(embedding.weight, std=self.config.embedding**-0.5)
            with torch.no_grad():
                embedding.weight[PADDING].zero_()
        of_cell = set(self.decoder.cell.children())
        for module in self.modules():
            if isinstance(module, nn.Linear) and module not in of_cell:
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def encode(self, source_BS: Tensor) -> tuple[Source, tuple[Tensor, ...]]:
        """Read the source (section 3.2).

        Args:
            source_BS: int64 piece ids, right-padded with 0; every sentence has at least one piece.

        Returns:
            What the decoder looks at, and its first state: one tensor ``[B, H]``, made of the backward GRU's
            last state (section A.2.2).
        """
        real_BS = (source_BS != PADDING).to(self.output_bias.dtype)
        hold_BS = HOLD * (1 - real_BS)
        words_BSE = self.embedding_dropout(self._embed(self.source_embedding, source_BS))
        forward_BSH = self.reading_forward(words_BSE, hold_BS)
        backward_BSH = self.reading_backward(words_BSE.flip(1), hold_BS.flip(1)).flip(1)
        states_BSC = self.context_dropout(torch.cat([forward_BSH, backward_BSH], dim=-1))
        start_BH = torch.tanh(self.start_state(backward_BSH[:, 0]))
        return Source(self.decoder.alignment.key(states_BSC), states_BSC, real_BS), (start_BH,)

    def decode(
        self, target_BT: Tensor, state: tuple[Tensor, ...], source: Source
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Go on with given pieces: in training all of a sentence, in translating one at a time.

        Args:
            target_BT: int64 pieces that were spoken last; the first of a sentence is the beginning mark.
            state: the state to go on from.
            source: what ``encode`` made.

        Returns:
            The readouts ``[B, T, E]`` for ``logits``, the alignment ``[B, T, S]`` and the next state.
        """
        words_BTE = self.embedding_dropout(self._embed(self.target_embedding, target_BT))
        states_BTH, context_BTC, alignment_BTS, next_BH = self.decoder(words_BTE, state[0], source)
        all_BTX = torch.cat([states_BTH, context_BTC, words_BTE], dim=-1)
        readout_BTE = self.readout_dropout(torch.tanh(self.readout(all_BTX)))
        return readout_BTE, alignment_BTS, (next_BH,)

    def logits(self, readout: Tensor) -> Tensor:
        """Return the logits of the next piece, ``[..., V]``; a tanh layer stands for the paper's maxout."""
        return linear(readout, self.target_embedding.weight, self.output_bias)

    def most(self, source_pieces: int) -> int:
        """Return after how many pieces a translation that does not end by itself is cut."""
        return 2 * source_pieces + 10

    def forward(self, source_BS: Tensor, target_BT: Tensor) -> Tensor:
        """Return the readouts ``[B, T, E]`` of a sentence whose translation is given (teacher forcing)."""
        source, state = self.encode(source_BS)
        return self.decode(target_BT, state, source)[0]

    def _embed(self, embedding: nn.Embedding, pieces: Tensor) -> Tensor:
        words: Tensor = embedding(pieces) * self.config.embedding**0.5
        return words
