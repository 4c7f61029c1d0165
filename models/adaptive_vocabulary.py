"""A vocabulary as embedding and softmax in one: rare words have narrow vectors, and cost little.

Words are sorted by frequency and cut into clusters. The first has vectors of full width; each further one is
``shrink`` times narrower and is reached through a projection. The softmax first chooses a word of the first
cluster or a further cluster, then a word in that cluster (Grave et al. 2017, arXiv 1609.04309), so it is a
proper distribution over all words. Embedding and softmax share tables and projections (Press and Wolf 2017,
arXiv 1608.05859; Baevski and Auli 2019, arXiv 1809.10853). Without cutoffs it is the plain tied softmax.

Legend: B batch, T words, N any number of states, H hidden, V vocabulary, C words of a cluster, D its width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, linear

FAR_BELOW = -1e9
"""Added to the logit of padding, which is no word: finite, so that no row can become NaN."""


class AdaptiveVocabulary(nn.Module):
    """Vectors of all words, and the distribution over them given a state. Word 0 is padding."""

    padding_C: Tensor

    def __init__(self, vocabulary: int, hidden: int, cutoffs: Sequence[int] = (), shrink: int = 3) -> None:
        super().__init__()
        self.edges = (0, *(cut for cut in cutoffs if cut < vocabulary), vocabulary)
        sizes = [high - low for low, high in self._clusters()]
        widths = [max(1, hidden // shrink**place) for place in range(len(sizes))]
        self.tables = nn.ParameterList(
            nn.Parameter(torch.empty(size, width)) for size, width in zip(sizes, widths, strict=True)
        )
        self.projections = nn.ParameterList(nn.Parameter(torch.empty(width, hidden)) for width in widths[1:])
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(size)) for size in sizes)
        self.cluster_table = nn.Parameter(torch.empty(len(widths) - 1, hidden))
        self.cluster_bias = nn.Parameter(torch.zeros(len(widths) - 1))
        padding_C = torch.zeros(sizes[0])
        padding_C[0] = FAR_BELOW
        self.register_buffer("padding_C", padding_C, persistent=False)
        for table in (*self.tables, self.cluster_table):
            nn.init.normal_(table, std=hidden**-0.5)
        for projection in self.projections:
            nn.init.xavier_uniform_(projection)

    def _clusters(self) -> Iterator[tuple[int, int]]:
        return zip(self.edges[:-1], self.edges[1:], strict=True)

    def embed(self, words_BT: Tensor) -> Tensor:
        """Return the vectors of words, ``[B, T, H]``."""
        vectors_BTH: Tensor | None = None
        for place, (low, high) in enumerate(self._clusters()):
            inside_BT = (words_BT >= low) & (words_BT < high)
            own_BTD = embedding((words_BT - low).clamp(0, high - low - 1), self.tables[place])
            own_BTD = own_BTD * inside_BT.unsqueeze(-1).to(own_BTD.dtype)
            own_BTH = own_BTD @ self.projections[place - 1] if place else own_BTD
            vectors_BTH = own_BTH if vectors_BTH is None else vectors_BTH + own_BTH
        assert vectors_BTH is not None
        return vectors_BTH

    def log_probabilities(self, states_NH: Tensor) -> Tensor:
        """Return the log-probability of every word, ``[N, V]``; that of padding is far below any other."""
        head_NC = self._head(states_NH)
        first = self.edges[1]
        parts = [head_NC[:, :first]]
        for place in range(1, len(self.tables)):
            chosen_N1 = head_NC[:, first + place - 1 : first + place]
            parts.append(chosen_N1 + self._tail(states_NH, place))
        return torch.cat(parts, dim=-1)

    def log_probability(self, states_NH: Tensor, words_N: Tensor) -> Tensor:
        """Return the log-probability of one word a state, ``[N]``, looking only into that word's cluster.

        For training: what is computed depends on the words, so this cannot be exported.
        """
        head_NC = self._head(states_NH)
        first = self.edges[1]
        cluster_N = torch.bucketize(words_N.contiguous(), words_N.new_tensor(self.edges[1:-1]), right=True)
        column_N = torch.where(cluster_N == 0, words_N, first + cluster_N - 1)
        log_p_N: Tensor = head_NC.gather(1, column_N.unsqueeze(1)).squeeze(1)
        for place, (low, _) in list(enumerate(self._clusters()))[1:]:
            own_M = (cluster_N == place).nonzero().squeeze(1)
            tail_MC = self._tail(states_NH[own_M], place)
            inside_M = tail_MC.gather(1, (words_N[own_M] - low).unsqueeze(1)).squeeze(1)
            log_p_N = log_p_N.index_add(0, own_M, inside_M)
        return log_p_N

    def _head(self, states_NH: Tensor) -> Tensor:
        """Return log-probabilities of the first cluster's words, then of the further clusters."""
        words_NC = linear(states_NH, self.tables[0]).float() + (self.biases[0] + self.padding_C)
        clusters_NC = linear(states_NH, self.cluster_table).float() + self.cluster_bias
        return torch.cat([words_NC, clusters_NC], dim=-1).log_softmax(dim=-1)

    def _tail(self, states_NH: Tensor, place: int) -> Tensor:
        """Return log-probabilities of the words within one further cluster, ``[N, C]``."""
        narrow_ND = states_NH @ self.projections[place - 1].T
        logits_NC: Tensor = linear(narrow_ND, self.tables[place]).float() + self.biases[place]
        return logits_NC.log_softmax(dim=-1)
