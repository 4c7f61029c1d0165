"""A reader as a graph: attention over the document, summed over the mentions of each candidate.

Legend: B batch, T tokens of the document, Q tokens of the question, C candidates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor, nn

from export.wrappers import Graph
from models.attention_sum_reader import FAR_BELOW, PLACEHOLDER_ID, AttentionSumReaderConfig
from models.checkpoint import Checkpoint
from models.families import build
from server.contract.manifest import AttentionSpec, Signature, TensorSpec
from server.contract.tensors import Arrays

AXES = ("tokens", "question_tokens", "candidates")


class ReadingGraph(nn.Module):
    """A reader that returns the probabilities of candidates, and its attention over the whole document."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, document_tokens: Tensor, question_tokens: Tensor, token_candidates: Tensor, candidates: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return ``candidate_probabilities [B, C]`` and ``attention [B, 1, T]``.

        Args:
            document_tokens: ids ``[B, T]``, right-padded with 0.
            question_tokens: ids ``[B, Q]``, right-padded with 0.
            token_candidates: the number of each word's candidate, 0 for none, ``[B, T]``.
            candidates: the numbers of the candidates ``[B, C]``, right-padded with 0.
        """
        score_BT: Tensor = self.network(document_tokens, question_tokens)
        real_BT = (document_tokens != 0).to(score_BT.dtype)
        attention_BT = score_BT.softmax(dim=-1) * real_BT
        held_BT = (token_candidates != 0).to(score_BT.dtype)
        share_BT = (score_BT + FAR_BELOW * (1 - held_BT)).softmax(dim=-1) * held_BT
        same_BCT = candidates.unsqueeze(2) == token_candidates.unsqueeze(1)
        mention_BCT = (same_BCT & (candidates != 0).unsqueeze(2)).to(score_BT.dtype)
        p_BC = (mention_BCT @ share_BT.unsqueeze(2)).squeeze(2)  # eq. 4: the sum over mentions
        return p_BC, attention_BT.unsqueeze(1)


def reading_graph(checkpoint: Checkpoint) -> Graph:
    """Wrap a reader; one document and one question a row."""
    signature = Signature(
        inputs=(
            TensorSpec(name="document_tokens", datatype="INT64", dims=("batch", "tokens")),
            TensorSpec(name="question_tokens", datatype="INT64", dims=("batch", "question_tokens")),
            TensorSpec(name="token_candidates", datatype="INT64", dims=("batch", "tokens")),
            TensorSpec(name="candidates", datatype="INT64", dims=("batch", "candidates")),
        ),
        outputs=(
            TensorSpec(name="candidate_probabilities", datatype="FP32", dims=("batch", "candidates")),
            TensorSpec(name="attention", datatype="FP32", dims=("batch", 1, "tokens")),
        ),
        attention=AttentionSpec(
            output="attention", kind="token", axes=("answer", "token"), normalized_over="token"
        ),
    )
    limits = {axis: checkpoint.limits[f"max_{axis}"] for axis in AXES}
    vocabulary = AttentionSumReaderConfig(**checkpoint.config).vocabulary
    module = ReadingGraph(build(checkpoint)).eval()
    return Graph(module, signature, limits, vocabulary, Documents(vocabulary))


class Documents:
    """Draws documents with a question each, in words of the document around the placeholder."""

    def __init__(self, vocabulary: int) -> None:
        self._vocabulary = vocabulary

    def __call__(self, sizes: Sequence[Mapping[str, int]], rng: np.random.Generator) -> Sequence[Arrays]:
        """Draw one request for each of the given sizes."""
        return [self._request(own, rng) for own in sizes]

    def _request(self, sizes: Mapping[str, int], rng: np.random.Generator) -> Arrays:
        tokens, asked, candidates = (sizes[axis] for axis in AXES)
        words = rng.integers(PLACEHOLDER_ID + 1, self._vocabulary, size=tokens)
        question = rng.choice(words, size=asked)  # words of the document, so that something matches
        question[rng.integers(asked)] = PLACEHOLDER_ID
        numbers = rng.integers(0, candidates, size=tokens, endpoint=True)
        numbers[rng.integers(tokens)] = rng.integers(1, candidates, endpoint=True)
        return {
            "document_tokens": words,
            "question_tokens": question,
            "token_candidates": numbers,
            "candidates": np.arange(1, candidates + 1),
        }
