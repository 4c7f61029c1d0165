"""DMN+: the dynamic memory network that answers a question by reading a story several times.

Xiong, Merity, Socher, "Dynamic Memory Networks for Visual and Textual Question Answering", 2016
(arXiv 1603.01417); section and equation numbers below are that paper's. Facts enter through a sentence
encoder and a bidirectional GRU, each hop softly selects facts by a gate, an attention GRU summarises them,
and the memory is updated.

Batch invariance holds by construction: position weights use each sentence's own length, padded facts get a
gate of exactly zero, and every recurrence holds its state over padding.

Legend: B batch, F facts, T tokens of a fact, Q tokens of the question, D embedding, H hidden, K hops,
V vocabulary, A answers. Token id 0 is padding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.recurrent import HOLD, AttentionGRU, HeldGRU

PADDING = 0
FAR_BELOW = -1e9
"""Added to the attention logit of a padded fact: finite, so that no row can become NaN."""


@dataclass(frozen=True)
class DMNPlusConfig:
    """The shape of the network and the choices the paper leaves open or that measurements call for.

    ``vocabulary`` and ``answers`` are the numbers of token ids and of answers.
    ``embedding`` and ``hidden`` are 80 in the paper. ``hops`` is its number of passes (3).
    ``memory_update``: ``relu`` is the paper's (eq. 13); ``deep`` has a hidden layer over products
    (``DeepMemoryUpdate``), for tasks whose answer combines two facts (17 and 19).
    ``sentence_encoder``: ``positional`` is the paper's fixed position encoding; ``learned`` has a free weight
    per position and dimension (Henaff et al. 2017, section 2.1), which tells subject from object sooner
    (tasks 17 to 19). ``max_words`` is the longest sentence a learned encoder can take.
    ``input_dropout`` acts on the encoded sentences before fusion, ``answer_dropout`` on the answer module's
    input; both are 0.1 in the paper (section 5.2).
    """

    vocabulary: int
    answers: int
    embedding: int = 80
    hidden: int = 80
    hops: int = 3
    memory_update: Literal["relu", "deep"] = "relu"
    sentence_encoder: Literal["positional", "learned"] = "positional"
    max_words: int = 32
    input_dropout: float = 0.1
    answer_dropout: float = 0.1

    def __post_init__(self) -> None:
        """Refuse sizes no network can have."""
        for name in ("vocabulary", "answers", "embedding", "hidden", "hops"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.memory_update not in ("relu", "deep"):
            raise ValueError(f"memory_update must be 'relu' or 'deep', got {self.memory_update!r}")
        if self.sentence_encoder not in ("positional", "learned"):
            raise ValueError(
                f"sentence_encoder must be 'positional' or 'learned', got {self.sentence_encoder!r}"
            )


class DMNPlusOutput(NamedTuple):
    """Everything the network can tell about one batch; logits are unnormalised."""

    hop_logits_BKA: Tensor
    """The answer module applied to the memory after each hop; the last hop is the answer."""
    gate_BKF: Tensor
    """The episodic gate: sums to one over the facts of a story, zero on padding."""
    log_gate_BKF: Tensor
    """Its logarithm, for supervision."""
    memory_BKH: Tensor
    """The memory after each hop."""


class SentenceEncoder(nn.Module):
    """Position encoding (section 3.1): ``f = sum_j l_j * w_j``, ``l_jd = (1 - j/M) - (d/D)(1 - 2j/M)``.

    ``M`` is the sentence's own number of words, never the padded one. The weights are linear in ``j/M``, so
    the sum splits into a bag of words and a position-weighted bag of words.
    """

    bag_weight_D: Tensor
    position_weight_D: Tensor

    def __init__(self, embedding: int) -> None:
        super().__init__()
        d_D = torch.arange(1, embedding + 1) / embedding
        self.register_buffer("bag_weight_D", 1 - d_D, persistent=False)
        self.register_buffer("position_weight_D", 2 * d_D - 1, persistent=False)

    def forward(self, words_BFTD: Tensor, real_BFT: Tensor) -> Tensor:
        """Return one vector a sentence, ``[B, F, D]``; ``real_BFT`` is 1 on words and 0 on padding."""
        length_BF1 = real_BFT.sum(dim=-1, keepdim=True).clamp(min=1)
        position_BFT = real_BFT.cumsum(dim=-1) * real_BFT / length_BF1  # j/M
        bags_BF2D = torch.stack([real_BFT, position_BFT], dim=-2) @ words_BFTD
        return bags_BF2D[..., 0, :] * self.bag_weight_D + bags_BF2D[..., 1, :] * self.position_weight_D


class LearnedSentenceEncoder(nn.Module):
    """A multiplicative mask per word position: ``f = sum_j m_j * w_j``.

    Henaff, Weston, Szlam, Bordes, LeCun 2017, arXiv 1612.03969, eq. 1; a deviation from DMN+.
    """

    def __init__(self, embedding: int, max_words: int) -> None:
        super().__init__()
        self.mask_TD = nn.Parameter(1 + 0.1 * torch.randn(max_words, embedding))

    def forward(self, words_BFTD: Tensor, real_BFT: Tensor) -> Tensor:
        """Return one vector a sentence, ``[B, F, D]``; padding words are zero vectors and add nothing."""
        return (words_BFTD * self.mask_TD[: words_BFTD.shape[2]]).sum(dim=2)


class EpisodicGate(nn.Module):
    """The gate over facts (section 3.3, eq. 8-10): two layers on four interactions, then a softmax.

    Before the tanh the first layer is a sum over the interactions. Those with the question are the same in
    every hop, so ``ask`` computes their part once.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.hidden_layer = nn.Linear(4 * hidden, hidden)
        self.score = nn.Linear(hidden, 1)

    def ask(self, facts_BFH: Tensor, question_BH: Tensor) -> Tensor:
        """Return what the question adds to the first layer ``[B, F, H]``, the bias included."""
        return self._part(facts_BFH, question_BH, 0) + self.hidden_layer.bias

    def forward(self, facts_BFH: Tensor, asked_BFH: Tensor, memory_BH: Tensor, real_BF: Tensor) -> Tensor:
        """Return ``log g`` ``[B, F]``, a log-softmax over the real facts.

        Args:
            facts_BFH: the fused facts.
            asked_BFH: what ``ask`` made of them and the question.
            memory_BH: the memory before this hop.
            real_BF: 1.0 on real facts, 0.0 on padding.
        """
        hidden_BFH = torch.tanh(asked_BFH + self._part(facts_BFH, memory_BH, 1))
        score_BF: Tensor = self.score(hidden_BFH).squeeze(-1)
        return torch.log_softmax(score_BF + FAR_BELOW * (1 - real_BF), dim=-1)

    def _part(self, facts_BFH: Tensor, other_BH: Tensor, place: int) -> Tensor:
        """Apply the first layer to the interactions with one vector.

        Its columns belong to ``f*q``, ``f*m``, ``|f-q|`` and ``|f-m|``, so to ``place`` and ``place + 2``.
        """
        products_HH, differences_HH = self.hidden_layer.weight.chunk(4, dim=1)[place::2]
        other_B1H = other_BH.unsqueeze(1)
        z_BFI = torch.cat([facts_BFH * other_B1H, (facts_BFH - other_B1H).abs()], dim=-1)  # [B, F, 2H]
        return functional.linear(z_BFI, torch.cat([products_HH, differences_HH], dim=1))


class MemoryUpdate(nn.Module):
    """One hop's memory update: ``m' = ReLU(W [m; c; q] + b)``, untied over hops (section 3.3, eq. 13)."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * hidden, hidden)

    def forward(self, memory_BH: Tensor, episode_BH: Tensor, question_BH: Tensor) -> Tensor:
        """Return the next memory ``[B, H]``."""
        return torch.relu(self.linear(torch.cat([memory_BH, episode_BH, question_BH], dim=-1)))


class DeepMemoryUpdate(nn.Module):
    """A deviation from the paper: ``m' = m + W2 ReLU(W1 [m; c; q; c*m; c*q] + b1) + b2``, untied over hops.

    The products say which words the episode shares with the question and the memory, the hidden layer
    combines them, and the sum keeps what an earlier hop found. It runs once a hop, not once a fact, so it
    costs next to nothing.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.hidden_layer = nn.Linear(5 * hidden, 4 * hidden)
        self.output = nn.Linear(4 * hidden, hidden)

    def forward(self, memory_BH: Tensor, episode_BH: Tensor, question_BH: Tensor) -> Tensor:
        """Return the next memory ``[B, H]``."""
        products = [episode_BH * memory_BH, episode_BH * question_BH]
        z_BI = torch.cat([memory_BH, episode_BH, question_BH, *products], dim=-1)  # [B, 5H]
        change_BH: Tensor = self.output(torch.relu(self.hidden_layer(z_BI)))
        return memory_BH + change_BH


class DMNPlus(nn.Module):
    """The whole network: encode facts and question, then for each hop gate, episode, memory, answer."""

    def __init__(self, config: DMNPlusConfig) -> None:
        super().__init__()
        self.config = config
        hidden = config.hidden
        self.embedding = nn.Embedding(config.vocabulary, config.embedding, padding_idx=PADDING)
        self.sentence_encoder = (
            LearnedSentenceEncoder(config.embedding, config.max_words)
            if config.sentence_encoder == "learned"
            else SentenceEncoder(config.embedding)
        )
        self.fusion_forward = HeldGRU(config.embedding, hidden)
        self.fusion_backward = HeldGRU(config.embedding, hidden)
        self.question_encoder = HeldGRU(config.embedding, hidden)
        self.gate = EpisodicGate(hidden)
        self.attention_gru = AttentionGRU(hidden)
        memory_update = DeepMemoryUpdate if config.memory_update == "deep" else MemoryUpdate
        self.memory_updates = nn.ModuleList(memory_update(hidden) for _ in range(config.hops))
        self.answer = nn.Linear(2 * hidden, config.answers)
        self.input_dropout = nn.Dropout(config.input_dropout)
        self.answer_dropout = nn.Dropout(config.answer_dropout)
        self._initialise()

    def _initialise(self) -> None:
        """Xavier for weights, uniform(-sqrt 3, sqrt 3) for embeddings (section 5.2)."""
        nn.init.uniform_(self.embedding.weight, -(3**0.5), 3**0.5)
        with torch.no_grad():
            self.embedding.weight[PADDING].zero_()
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def encode_story(self, story_BFT: Tensor) -> tuple[Tensor, Tensor]:
        """Encode sentences and let them see each other (input fusion, section 3.1).

        Args:
            story_BFT: int64 token ids, right-padded with 0 along words and facts.

        Returns:
            The facts ``[B, F, H]`` and 1.0 on real facts, 0.0 on padding, ``[B, F]``.
        """
        words_BFTD = self.embedding(story_BFT)
        real_BFT = (story_BFT != PADDING).to(words_BFTD.dtype)
        real_BF = real_BFT.amax(dim=-1)
        sentences_BFD = self.input_dropout(self.sentence_encoder(words_BFTD, real_BFT))
        hold_BF = HOLD * (1 - real_BF)
        forward_BFH = self.fusion_forward(sentences_BFD, hold_BF)
        backward_BFH = self.fusion_backward(sentences_BFD.flip(1), hold_BF.flip(1)).flip(1)
        return forward_BFH + backward_BFH, real_BF

    def encode_question(self, question_BQ: Tensor) -> Tensor:
        """Return the question GRU's last state ``[B, H]``; padded words hold it.

        Args:
            question_BQ: int64 token ids, right-padded with 0.
        """
        words_BQD = self.embedding(question_BQ)
        hold_BQ = HOLD * (question_BQ == PADDING).to(words_BQD.dtype)
        states_BQH: Tensor = self.question_encoder(words_BQD, hold_BQ)
        return states_BQH[:, -1]

    def forward(self, story_tokens: Tensor, question_tokens: Tensor) -> DMNPlusOutput:
        """Answer a batch of questions.

        Args:
            story_tokens: int64 ``[B, F, T]``, right-padded with 0; every story has at least one fact.
            question_tokens: int64 ``[B, Q]``, right-padded with 0; every question has at least one word.

        Returns:
            Logits of the answers after each hop, gates, their logarithms and the memories.
        """
        facts_BFH, real_BF = self.encode_story(story_tokens)
        question_BH = self.encode_question(question_tokens)
        memory_BH = question_BH
        asked_BFH = self.gate.ask(facts_BFH, question_BH)
        memories, log_gates, gates = [], [], []
        for update in self.memory_updates:
            log_gate_BF = self.gate(facts_BFH, asked_BFH, memory_BH, real_BF)
            gate_BF = log_gate_BF.exp() * real_BF
            episode_BH = self.attention_gru(facts_BFH, gate_BF, 1 - real_BF)
            memory_BH = update(memory_BH, episode_BH, question_BH)
            memories.append(memory_BH)
            log_gates.append(log_gate_BF)
            gates.append(gate_BF)
        memory_BKH = torch.stack(memories, dim=1)
        question_BKH = question_BH.unsqueeze(1).expand_as(memory_BKH)
        hop_logits_BKA = self.answer(self.answer_dropout(torch.cat([memory_BKH, question_BKH], dim=-1)))
        return DMNPlusOutput(
            hop_logits_BKA, torch.stack(gates, dim=1), torch.stack(log_gates, dim=1), memory_BKH
        )
