"""Pointer sentinel LSTM: a language model that can copy a word from what it has just read.

Merity, Xiong, Bradbury, Socher, "Pointer Sentinel Mixture Models", 2016 (arXiv 1609.07843); section and
equation numbers below are that paper's. An LSTM predicts the next word from the vocabulary; an attention over
its last L outputs predicts it among the last L words; a learnt vector that competes in the same softmax, the
sentinel, decides how much of the prediction is left to the vocabulary.

State travels as arguments and results: LSTM outputs and cells, and the window of the last L outputs with
their words. The window is right-aligned; word 0 is padding and marks places that hold nothing yet.
Batch invariance holds by construction: padded words leave the state as it is and get no attention.

Legend: B batch, T words of a chunk, L window, C = L + T, N layers, H hidden, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.adaptive_vocabulary import FAR_BELOW, AdaptiveVocabulary
from models.held_lstm import HeldLSTM

PADDING = 0


@dataclass(frozen=True)
class PointerSentinelConfig:
    """The shape of the network; sizes by default are the paper's (section 5.3).

    ``vocabulary`` is the number of word ids, sorted by frequency where there are ``cutoffs``.
    ``hidden`` is also the width of the embedding, which is tied to the softmax. ``window`` is L.
    ``pointer`` off leaves the same LSTM with its softmax alone: the control.
    ``cutoffs`` and ``shrink`` make rare words cheaper (``models.adaptive_vocabulary``; a deviation); cutoffs
    beyond the vocabulary cut nothing.
    ``input_dropout``, ``layer_dropout`` and ``output_dropout`` act on embeddings, between layers, and before
    the softmax and the pointer's query; one mask serves a whole chunk (variational or locked dropout, Gal and
    Ghahramani 2016, arXiv 1512.05287). ``weight_drop`` drops recurrent weights (a deviation).
    """

    vocabulary: int
    hidden: int = 650
    layers: int = 2
    window: int = 100
    pointer: bool = True
    cutoffs: tuple[int, ...] = ()
    shrink: int = 3
    input_dropout: float = 0.5
    layer_dropout: float = 0.5
    output_dropout: float = 0.5
    weight_drop: float = 0.0

    def __post_init__(self) -> None:
        """Refuse sizes no network can have."""
        for name in ("vocabulary", "hidden", "layers", "window", "shrink"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("input_dropout", "layer_dropout", "output_dropout", "weight_drop"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, got {getattr(self, name)}")
        if any(low >= high for low, high in pairwise((1, *self.cutoffs))):
            raise ValueError(f"cutoffs must be above 1 and rise, got {list(self.cutoffs)}")


class State(NamedTuple):
    """All that the network remembers of the words it has read."""

    hidden_BNH: Tensor
    """The last output of each layer."""
    cell_BNH: Tensor
    """The cell of each layer."""
    window_states_BLH: Tensor
    """The top layer's last L outputs, the newest last."""
    window_words_BL: Tensor
    """The words read at those places; 0 where there is none yet."""

    def detached(self) -> State:
        """Return the same state as constants: what is carried over the end of back-propagation."""
        return State(*(part.detach() for part in self))


class PointerSentinelOutput(NamedTuple):
    """What the network says after each word of a chunk; probabilities are those of the next word."""

    states_BTH: Tensor
    """The top layer's outputs, for the softmax."""
    attention_BTL1: Tensor
    """Log-probabilities over the window that ends at each word, and the sentinel, which is last."""
    words_BTL: Tensor
    """The words of each of these windows; 0 where there is none."""
    state: State
    """The state after the last real word."""


class PointerSentinel(nn.Module):
    """The attention over the window and the sentinel (section 2.3, eq. 3-6).

    ``q = tanh(W h + b)``, ``z_i = q . h_i``, ``a = softmax([z; q . s])``; the sentinel's share is the gate.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.query = nn.Linear(hidden, hidden)
        self.sentinel_H = nn.Parameter(torch.randn(hidden) * hidden**-0.5)

    def forward(self, states_BTH: Tensor, memory_BCH: Tensor, present_BTL: Tensor) -> Tensor:
        """Return ``log a`` ``[B, T, L + 1]``, the sentinel last.

        Args:
            states_BTH: the outputs that ask.
            memory_BCH: the L outputs before the chunk, then the chunk's own.
            present_BTL: 1.0 where the window of a word holds a word.
        """
        query_BTH = torch.tanh(self.query(states_BTH))
        scores_BTC = (query_BTH @ memory_BCH.transpose(1, 2)).float()
        scores_BTL = banded(scores_BTC, present_BTL.shape[2]) + FAR_BELOW * (1 - present_BTL)
        sentinel_BT1 = (query_BTH @ self.sentinel_H.unsqueeze(1).to(query_BTH.dtype)).float()
        return torch.cat([scores_BTL, sentinel_BT1], dim=-1).log_softmax(dim=-1)


class PointerSentinelLSTM(nn.Module):
    """The whole network: words and a state in, what comes next and the new state out."""

    def __init__(self, config: PointerSentinelConfig) -> None:
        super().__init__()
        self.config = config
        self.vocabulary = AdaptiveVocabulary(config.vocabulary, config.hidden, config.cutoffs, config.shrink)
        self.layers = nn.ModuleList(
            HeldLSTM(config.hidden, config.hidden, config.weight_drop) for _ in range(config.layers)
        )
        self.pointer = PointerSentinel(config.hidden) if config.pointer else None

    def begin(self, batch: int) -> State:
        """Return the state before any word: zeros, and an empty window."""
        config, like = self.config, self.vocabulary.cluster_bias
        zeros_BNH = like.new_zeros(batch, config.layers, config.hidden)
        return State(
            zeros_BNH,
            zeros_BNH,
            like.new_zeros(batch, config.window, config.hidden),
            torch.zeros(batch, config.window, dtype=torch.int64, device=like.device),
        )

    def forward(self, words_BT: Tensor, state: State, padded: bool = True) -> PointerSentinelOutput:
        """Read a chunk of words.

        Args:
            words_BT: int64 ids, right-padded with 0; every row has at least one word.
            state: what was read before.
            padded: False promises that no word is padding, which is faster.
        """
        config = self.config
        real_BT = (words_BT != PADDING).to(state.hidden_BNH.dtype)
        last_B = real_BT.sum(dim=1).long() - 1
        x_BTH = self._drop(self.vocabulary.embed(words_BT), config.input_dropout)
        hidden, cells = [], []
        for place, layer in enumerate(self.layers):
            if place:
                x_BTH = self._drop(x_BTH, config.layer_dropout)
            x_BTH, cell_BH = layer(
                x_BTH, state.hidden_BNH[:, place], state.cell_BNH[:, place], 1 - real_BT if padded else None
            )
            hidden.append(at(x_BTH, last_B))
            cells.append(cell_BH)
        memory_BCH = torch.cat([state.window_states_BLH, x_BTH], dim=1)
        words_BC = torch.cat([state.window_words_BL, words_BT], dim=1)
        states_BTH = self._drop(x_BTH, config.output_dropout)
        words_BTL = banded(words_BC.unsqueeze(1).expand(-1, words_BT.shape[1], -1), config.window)
        attention_BTL1 = self._attention(states_BTH, memory_BCH, words_BTL)
        ends_BL = last_B.unsqueeze(1) + 1 + torch.arange(config.window, device=words_BT.device)
        following = State(
            torch.stack(hidden, dim=1),
            torch.stack(cells, dim=1),
            memory_BCH.gather(1, ends_BL.unsqueeze(-1).expand(-1, -1, config.hidden)),
            words_BC.gather(1, ends_BL),
        )
        return PointerSentinelOutput(states_BTH, attention_BTL1, words_BTL, following)

    def _attention(self, states_BTH: Tensor, memory_BCH: Tensor, words_BTL: Tensor) -> Tensor:
        present_BTL = (words_BTL != PADDING).to(torch.float32)
        if self.pointer is not None:
            log_attention_BTL1: Tensor = self.pointer(states_BTH, memory_BCH, present_BTL)
            return log_attention_BTL1
        nothing_BTL = torch.full_like(present_BTL, FAR_BELOW)  # the gate is always one
        return torch.cat([nothing_BTL, torch.zeros_like(present_BTL[..., :1])], dim=-1)

    def _drop(self, x_BTH: Tensor, p: float) -> Tensor:
        """Drop the same units of a row at every word of the chunk (locked dropout)."""
        if not self.training or p == 0:
            return x_BTH
        mask_B1H = torch.empty_like(x_BTH[:, :1]).bernoulli_(1 - p) / (1 - p)
        return x_BTH * mask_B1H

    def log_probability(self, output: PointerSentinelOutput, words_BT: Tensor) -> Tensor:
        """Return the mixture's log-probability of the given next words, ``[B, T]`` (eq. 1 and 5).

        ``log(g p_vocab(w) + sum of a_i where x_i = w)``, summed in the log domain, so nothing is clamped.
        """
        shape, hidden = words_BT.shape, self.config.hidden
        flat_NH = output.states_BTH.reshape(-1, hidden)
        log_vocabulary_BT = self.vocabulary.log_probability(flat_NH, words_BT.flatten()).view(shape)
        log_gate_BT = output.attention_BTL1[..., -1]
        return torch.logaddexp(log_gate_BT + log_vocabulary_BT, pointed_at(output, words_BT))


def pointed_at(output: PointerSentinelOutput, words_BT: Tensor) -> Tensor:
    """Return the log of the attention on the given words, ``[B, T]``; far below zero without any."""
    same_BTL = (output.words_BTL == words_BT.unsqueeze(-1)).to(torch.float32)
    return torch.logsumexp(output.attention_BTL1[..., :-1] + FAR_BELOW * (1 - same_BTL), dim=-1)


def banded(values_BTC: Tensor, window: int) -> Tensor:
    """Cut the window that ends at each word: entry ``t`` keeps columns ``t + 1 .. t + L`` of ``L + T``.

    Returns:
        ``[B, T, L]``.
    """
    batch, words, _ = values_BTC.shape
    columns_TL = (
        torch.arange(words, device=values_BTC.device).unsqueeze(1)
        + 1
        + torch.arange(window, device=values_BTC.device)
    )
    return values_BTC.gather(2, columns_TL.unsqueeze(0).expand(batch, -1, -1))


def at(values_BTH: Tensor, places_B: Tensor) -> Tensor:
    """Return each row's vector at its own place, ``[B, H]``."""
    index_B1H = places_B.view(-1, 1, 1).expand(-1, 1, values_BTH.shape[2])
    return values_BTH.gather(1, index_B1H).squeeze(1)
