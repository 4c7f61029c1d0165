"""The attention-sum reader: one look over a document, and a word's probability is the sum over its mentions.

Kadlec, Schmid, Bajgar, Kleindienst, "Text Understanding with the Attention Sum Reader Network", 2016 (arXiv
1603.01547); section and equation numbers below are that paper's. A bidirectional GRU reads the document,
another the question, one dot product compares every document word with the question, and a softmax over the
document makes that the attention.

Batch invariance holds by construction: recurrences hold their state over padding, and padded words get an
attention of exactly zero.

Legend: B batch, M questions about one document, T tokens of the document, Q tokens of a question, D
embedding, H hidden, E both directions (2H), O offsets of a window. Token id 0 is padding, id 2 the
placeholder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from models.recurrent import HOLD, HeldGRU

PADDING, PLACEHOLDER_ID = 0, 2
FAR_BELOW = -1e9
"""Added to the score of a padded word: finite, so that no row can become NaN."""

REACH = 4
"""How far a word's surroundings go to either side in the lexical match."""


@dataclass(frozen=True)
class AttentionSumReaderConfig:
    """The shape of the network and what measurements on little data call for.

    ``vocabulary`` is the number of token ids: padding, unknown, words, and ``slots`` ids at the end that
    stand for the words a request has and the vocabulary has not, a different one for each. ``embedding`` and
    ``hidden`` (per direction) are 128 to 384 in the paper. ``dropout`` acts on embeddings and states.
    ``readout``: ``ends`` is the paper's question vector, the last state of either direction (section 4);
    ``placeholder`` takes the states at the placeholder instead, which hold what is left and right of it.
    ``match``: adds to each score how well a word's surroundings in the document match those of the
    placeholder, and the words of the question (``LexicalMatch``); not in the paper. ``layers`` of
    bidirectional GRUs, 1 in the paper. ``gated``: between layers each state of the document is joined by its
    product with what it finds in the question, so that upper layers read with the question in mind (Dhingra
    et al. 2017, arXiv 1606.01549, section 3.1.2, where the product replaces the state). ``linked``: between
    layers each state is joined by the forward state at the word's earlier mention and the backward state at
    its later one, so that what is told of *milk* in one sentence is at hand in the next that has it (after
    Dhingra et al. 2018, arXiv 1804.05922, where such states enter the recurrence itself).
    """

    vocabulary: int
    slots: int = 64
    embedding: int = 128
    hidden: int = 128
    layers: int = 1
    readout: Literal["ends", "placeholder"] = "ends"
    match: bool = False
    gated: bool = False
    linked: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Refuse sizes no network can have."""
        for name in ("vocabulary", "slots", "embedding", "hidden", "layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.readout not in ("ends", "placeholder"):
            raise ValueError(f"readout must be 'ends' or 'placeholder', got {self.readout!r}")
        for name in ("gated", "linked"):
            if getattr(self, name) and self.layers == 1:
                raise ValueError(f"{name} acts between layers, so layers must be at least 2")


class BidirectionalGRU(nn.Module):
    """GRUs in both directions, one layer or several; padding holds their states.

    An upper layer reads ``between`` of the states below, ``widening`` times as wide as they are.
    """

    def __init__(self, inputs: int, hidden: int, layers: int, dropout: float, widening: int = 1) -> None:
        super().__init__()
        sizes = [inputs] + [2 * hidden * widening] * (layers - 1)
        self.forward_layers = nn.ModuleList(HeldGRU(size, hidden) for size in sizes)
        self.backward_layers = nn.ModuleList(HeldGRU(size, hidden) for size in sizes)
        self.dropout = nn.Dropout(dropout)
        for gru in (*self.forward_layers, *self.backward_layers):
            for gate in gru.w_hh.data.chunk(3):
                nn.init.orthogonal_(gate)  # section 5.2

    def forward(
        self, words_BTD: Tensor, padded_BT: Tensor, between: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """Return the states of both directions, ``[B, T, E]``; ``padded_BT`` is 1.0 on padding."""
        hold_BT = HOLD * padded_BT
        states_BTE = words_BTD
        for place, (ahead, back) in enumerate(zip(self.forward_layers, self.backward_layers, strict=True)):
            if place:
                states_BTE = self.dropout(between(states_BTE) if between else states_BTE)
            ahead_BTH = ahead(states_BTE, hold_BT)
            back_BTH = back(states_BTE.flip(1), hold_BT.flip(1)).flip(1)
            states_BTE = torch.cat([ahead_BTH, back_BTH], dim=-1)
        return states_BTE


class LexicalMatch(nn.Module):
    """How well a word's surroundings match the question, word for word; a deviation from the paper.

    Embeddings of rare words are hardly trained on little text, so equality is given to the network: whether
    the words at the same distance from a document word and from the placeholder are equal, and how much of
    the question stands around it. Every word has a learnt weight, so that *the* matches for less than
    *lobster*.
    """

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.weight = nn.Embedding(vocabulary, 1)
        nn.init.constant_(self.weight.weight, 1.0)
        self.at_offset_O = nn.Parameter(torch.full((2 * REACH,), 0.5))
        self.around_O = nn.Parameter(torch.full((2 * REACH + 1,), 0.1))
        self.nearness = nn.Parameter(torch.zeros(1))

    def forward(self, document_BT: Tensor, question_BMQ: Tensor, padded_BT: Tensor) -> Tensor:
        """Return what is added to the scores, ``[B, M, T]``."""
        weight_BT = torch.nn.functional.softplus(self.weight(document_BT).squeeze(-1)) * (1 - padded_BT)
        offsets = [offset for offset in range(-REACH, REACH + 1) if offset]
        around_BMO = words_around(question_BMQ, offsets)
        asked_BMT = (document_BT[:, None, :, None] == question_BMQ[:, :, None, :]).any(dim=-1)
        found_BMT = asked_BMT.to(weight_BT.dtype) * weight_BT[:, None]
        total_BMT = self.around_O[REACH] * found_BMT
        for place, offset in enumerate(offsets):
            there_BT = shifted(document_BT, offset)
            heavy_BT = shifted(weight_BT, offset)
            equal_BMT = (there_BT[:, None] == around_BMO[:, :, place, None]).to(weight_BT.dtype)
            total_BMT = total_BMT + self.at_offset_O[place] * equal_BMT * heavy_BT[:, None]
            total_BMT = total_BMT + self.around_O[offset + REACH] * shifted(found_BMT, offset)
        real_BT = 1 - padded_BT
        left_BT = real_BT.flip(1).cumsum(dim=1).flip(1)  # words from here to the end
        return total_BMT - self.nearness * torch.log(left_BT.clamp(min=1))[:, None]


class AttentionSumReader(nn.Module):
    """The whole network, up to the score of every document word."""

    def __init__(self, config: AttentionSumReaderConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.embedding, padding_idx=PADDING)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)  # section 5.2
        with torch.no_grad():
            self.embedding.weight[PADDING].zero_()
        sizes = (config.embedding, config.hidden, config.layers, config.dropout)
        self.document_encoder = BidirectionalGRU(*sizes, widening=1 + config.gated + config.linked)
        self.question_encoder = BidirectionalGRU(*sizes)
        self.match = LexicalMatch(config.vocabulary) if config.match else None
        self.dropout = nn.Dropout(config.dropout)

    def read_questions(self, questions_NQ: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``g(q)`` ``[N, E]`` of each question (eq. 2), and the states ``[N, Q, E]`` of its words."""
        padded_NQ = (questions_NQ == PADDING).to(self.embedding.weight.dtype)
        states_NQE = self.question_encoder(self.dropout(self.embedding(questions_NQ)), padded_NQ)
        ahead_NQH, back_NQH = states_NQE.chunk(2, dim=-1)
        ends_NE = torch.cat([ahead_NQH[:, -1], back_NQH[:, 0]], dim=-1)
        if self.config.readout == "ends":
            return ends_NE, states_NQE
        here_NQ = (questions_NQ == PLACEHOLDER_ID).to(states_NQE.dtype)
        there_NE: Tensor = (here_NQ.unsqueeze(1) @ states_NQE).squeeze(1)
        return there_NE + ends_NE * (1 - here_NQ.amax(dim=-1, keepdim=True)), states_NQE

    def scores(self, document_BT: Tensor, question_BMQ: Tensor) -> Tensor:
        """Compare every word of each document with every question about it (eq. 3, before the softmax).

        Args:
            document_BT: int64 token ids, right-padded with 0.
            question_BMQ: int64 token ids of the questions, right-padded with 0; at most one placeholder each.

        Returns:
            Scores ``[B, M, T]``; those of padding are far below all others.
        """
        batch, questions = question_BMQ.shape[:2]
        question_NQ = question_BMQ.flatten(0, 1)
        vector_NE, question_NQE = self.read_questions(question_NQ)
        if self.config.gated:  # every question has its own reading of the document
            document_NT = document_BT.repeat_interleave(questions, dim=0)
            states_NTE = self._read_documents(document_NT, question_NQE, question_NQ != PADDING)
            score_NT = (states_NTE @ self.dropout(vector_NE).unsqueeze(2)).squeeze(2)
            score_BMT: Tensor = score_NT.view(batch, questions, -1)
        else:
            states_BTE = self._read_documents(document_BT)
            score_BMT = self.dropout(vector_NE).view(batch, questions, -1) @ states_BTE.transpose(1, 2)
        padded_BT = (document_BT == PADDING).to(score_BMT.dtype)
        if self.match is not None:
            score_BMT = score_BMT + self.match(document_BT, question_BMQ, padded_BT)
        return score_BMT + FAR_BELOW * padded_BT.unsqueeze(1)

    def _read_documents(
        self, document_NT: Tensor, question_NQE: Tensor | None = None, real_NQ: Tensor | None = None
    ) -> Tensor:
        """Return the states ``[N, T, E]``, read with a question in mind where questions are given."""
        joins: list[Callable[[Tensor], Tensor]] = []
        if question_NQE is not None and real_NQ is not None:
            joins.append(partial(times_found, question_NQE=question_NQE, real_NQ=real_NQ))
        if self.config.linked:
            earlier_NT, later_NT = other_mentions(document_NT)
            joins.append(partial(at_other_mentions, earlier_NT=earlier_NT, later_NT=later_NT))

        def joined(states_NTE: Tensor) -> Tensor:
            return torch.cat([states_NTE, *(join(states_NTE) for join in joins)], dim=-1)

        words_NTD = self.dropout(self.embedding(document_NT))
        padded_NT = (document_NT == PADDING).to(words_NTD.dtype)
        return self.dropout(self.document_encoder(words_NTD, padded_NT, joined))  # type: ignore[no-any-return]

    def forward(self, document_tokens: Tensor, question_tokens: Tensor) -> Tensor:
        """Return the scores ``[B, T]`` for one question ``[B, Q]`` about each document ``[B, T]``."""
        return self.scores(document_tokens, question_tokens.unsqueeze(1)).squeeze(1)


def times_found(states_NTE: Tensor, question_NQE: Tensor, real_NQ: Tensor) -> Tensor:
    """Return the products of document states with what they find in the question, ``[N, T, E]``."""
    alike_NTQ = states_NTE @ question_NQE.transpose(1, 2)
    alike_NTQ = alike_NTQ + FAR_BELOW * (1 - real_NQ.to(alike_NTQ.dtype)).unsqueeze(1)
    found_NTE = alike_NTQ.softmax(dim=-1) @ question_NQE
    return states_NTE * found_NTE


def other_mentions(words_NT: Tensor) -> tuple[Tensor, Tensor]:
    """Return where each place's word is mentioned last before it, and first after it.

    Both are int64 ``[N, T]`` and count places from 1; 0 stands for nowhere.
    """
    place_NT = torch.ones_like(words_NT).cumsum(dim=1)
    order_NT = (words_NT * (words_NT.shape[1] + 1) + place_NT).argsort(dim=1)  # by word, then by place
    word_NT, place_NT = words_NT.gather(1, order_NT), order_NT + 1
    earlier_NT, later_NT = (
        torch.where(shifted(word_NT, step) == word_NT, shifted(place_NT, step), 0) for step in (-1, 1)
    )
    back_NT = order_NT.argsort(dim=1)
    return earlier_NT.gather(1, back_NT), later_NT.gather(1, back_NT)


def at_other_mentions(states_NTE: Tensor, earlier_NT: Tensor, later_NT: Tensor) -> Tensor:
    """Return forward states at earlier mentions and backward states at later ones, ``[N, T, E]``."""
    ahead_NTH, back_NTH = states_NTE.chunk(2, dim=-1)
    return torch.cat([at(earlier_NT, ahead_NTH), at(later_NT, back_NTH)], dim=-1)


def at(place_NT: Tensor, states_NTH: Tensor) -> Tensor:
    """Return the states at these places, which count from 1; at 0 all is zero."""
    from_1_NTH = pad(states_NTH, [0, 0, 1, 0])
    return from_1_NTH.gather(1, place_NT.unsqueeze(2).expand(-1, -1, states_NTH.shape[2]))


def words_around(question_BMQ: Tensor, offsets: list[int]) -> Tensor:
    """Return the ids at these distances from the placeholder ``[B, M, O]``, -1 where there is no word."""
    placeholder_BMQ = question_BMQ == PLACEHOLDER_ID
    words_BMQ = question_BMQ.masked_fill(question_BMQ == PADDING, -1)
    present_BM = placeholder_BMQ.any(dim=-1)
    around = []
    for offset in offsets:
        there_BMQ = shifted(words_BMQ + 1, offset)  # 0 beyond the ends
        word_BM = (there_BMQ * placeholder_BMQ).sum(dim=-1) - 1
        around.append(torch.where(present_BM, word_BM, -1))
    return torch.stack(around, dim=-1)


def shifted(values: Tensor, offset: int) -> Tensor:
    """Return for each place of the last axis the value ``offset`` places further, 0 beyond the ends."""
    size = values.shape[-1]
    none = values.new_zeros(*values.shape[:-1], abs(offset))
    if offset > 0:
        return torch.cat([values, none], dim=-1)[..., offset : offset + size]
    return torch.cat([none, values], dim=-1)[..., :size]
