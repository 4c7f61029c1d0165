"""How reading families learn: the answer's mentions shall get the attention.

Used by ``models.families`` for every family whose task is ``read``.
Legend: B batch, M questions of a document, T tokens of the document.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.attention_sum_reader import FAR_BELOW, AttentionSumReader, AttentionSumReaderConfig
from models.checkpoint import Checkpoint
from models.data.passages import Articles, Ints, PassageBatch, Windows
from models.data.questions import EncodedQuestions
from models.families import FAMILIES
from models.presets import options_from
from models.recipe import Evaluation
from server.contract.text import Vocabulary


@dataclass(frozen=True)
class ReadingOptions:
    """How is learnt, and which limits a bundle will state.

    ``rival_weight`` weighs the loss among words of the answer's kind against the paper's loss among all words
    of the document: the first is what a list of candidates asks for, the second what no list asks for.
    ``passages_a_batch`` documents with many questions each, or ``questions_a_batch`` single questions of at
    most ``tokens_a_batch`` document words in all, padding included. ``max_tokens`` leaves out single
    questions about longer documents, 0 none. ``questions_an_epoch`` single questions are drawn over groups
    with weight ``floor`` + ``focus`` * running training error, so that what clicks late is not starved; of an
    error ``ceiling`` counts at most, and that of ``rested`` groups not at all. 0 takes every question once.
    """

    rival_weight: float = 1.0
    passages_a_batch: int = 12
    questions_a_batch: int = 32
    tokens_a_batch: int = 16_384
    max_tokens: int = 0
    questions_an_epoch: int = 0
    floor: float = 0.05
    focus: float = 1.0
    ceiling: float = 1.0
    rested: tuple[str, ...] = ()
    serve_max_tokens: int = 4_000
    serve_max_question_tokens: int = 256
    serve_max_candidates: int = 2_000


class Material(Protocol):
    """What a reader learns from."""

    def batches(self, rng: np.random.Generator) -> tuple[int, Iterator[PassageBatch]]:
        """Return about how many examples an epoch has, and its batches."""
        ...

    def learnt(self, group_B: Ints, wrong_B: NDArray[np.bool_]) -> None:
        """Take note of which documents' first question was answered wrongly."""
        ...


@dataclass(frozen=True)
class PassageMaterial:
    """Windows of articles with many questions each; an example is a window."""

    articles: Articles
    cut: Windows
    options: ReadingOptions

    def batches(self, rng: np.random.Generator) -> tuple[int, Iterator[PassageBatch]]:
        """Cut the windows anew, from other offsets."""
        starts = self.articles.windows(self.cut, rng)
        return len(starts), self.articles.batches(starts, self.cut, self.options.passages_a_batch, rng)

    def learnt(self, group_B: Ints, wrong_B: NDArray[np.bool_]) -> None:
        """Take no note: what is drawn does not depend on it."""


class QuestionMaterial:
    """Single questions, each with a document of its own; an example is a question."""

    def __init__(self, questions: EncodedQuestions, options: ReadingOptions) -> None:
        usable = questions.answers > 0
        if options.max_tokens:
            usable &= questions.sizes <= options.max_tokens
        self._questions, self._options = questions, options
        self._members = [
            np.flatnonzero(usable & (questions.group_of == number)) for number in range(len(questions.groups))
        ]
        self.error = [1.0] * len(questions.groups)

    def batches(self, rng: np.random.Generator) -> tuple[int, Iterator[PassageBatch]]:
        """Take every question, or draw as many as an epoch shall have."""
        indices = self._draw(rng)
        bounds = (self._options.tokens_a_batch, self._options.questions_a_batch)
        cuts = self._questions.batches(indices, *bounds, rng)
        return len(indices), (self._questions.batch(chosen, rng) for chosen in cuts)

    def _draw(self, rng: np.random.Generator) -> Ints:
        if not self._options.questions_an_epoch:
            return np.concatenate(self._members)
        weights = np.array([self._weight(number) for number in range(len(self.error))])
        counts = rng.multinomial(self._options.questions_an_epoch, weights / weights.sum())
        return np.concatenate(
            [
                draw_from(members, int(count), rng)
                for members, count in zip(self._members, counts, strict=True)
            ]
        )

    def _weight(self, group: int) -> float:
        if not len(self._members[group]):
            return 0.0
        options = self._options
        if self._questions.groups[group] in options.rested:
            return options.floor
        return options.floor + options.focus * min(self.error[group], options.ceiling)

    def learnt(self, group_B: Ints, wrong_B: NDArray[np.bool_]) -> None:
        """Keep a running mean of each group's errors."""
        for number in np.unique(group_B):
            of_group = wrong_B[group_B == number]
            keep = 0.999 ** len(of_group)
            self.error[number] = keep * self.error[number] + (1 - keep) * float(of_group.mean())


@dataclass
class ReadingRecipe:
    """Training of a reader (a ``models.recipe.Recipe``).

    ``shape`` are fields of the family's configuration.
    """

    family: str
    vocabulary: Vocabulary
    material: Material
    valid: EncodedQuestions
    options: ReadingOptions
    config: AttentionSumReaderConfig
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Refuse validation questions beyond the limits, or a validation that can measure nothing."""
        tokens, question_tokens, candidates = self.valid.longest
        for knob, length in (
            ("serve_max_tokens", tokens),
            ("serve_max_question_tokens", question_tokens),
            ("serve_max_candidates", candidates),
        ):
            if length > getattr(self.options, knob):
                limit = getattr(self.options, knob)
                raise ValueError(f"a question needs {length}, above {limit}: --set learning.{knob}={length}")
        if not self.valid.answers.any():
            raise ValueError("no validation question has its answer in its document")

    def network(self) -> nn.Module:
        """Build the network."""
        return FAMILIES[self.family].network(self.config)

    def batches(
        self, epoch: int, epochs: int, rng: np.random.Generator
    ) -> tuple[int, Iterable[PassageBatch]]:
        """Return this epoch's documents and their number."""
        return self.material.batches(rng)

    def loss(self, network: nn.Module, batch: PassageBatch) -> tuple[Tensor, int]:
        """Return the mean loss of a batch's questions, and its number of documents."""
        assert isinstance(network, AttentionSumReader)
        score_BMT = network.scores(batch.document_BT.to(self.device), batch.question_BMQ.to(self.device))
        mention_BMT = batch.mention_BMT.to(self.device)
        among_all_BM, among_rivals_BM = losses(score_BMT, mention_BMT, batch.rival_BMT.to(self.device))
        each_BM = among_all_BM + self.options.rival_weight * among_rivals_BM
        top_B = score_BMT[:, 0].argmax(dim=-1, keepdim=True).cpu()
        right_B = batch.word_BT.gather(1, top_B).squeeze(1) == batch.answer_BM[:, 0]
        self.material.learnt(batch.group_B, ~right_B.numpy())
        return each_BM[batch.answer_BM.to(self.device) > 0].mean(), len(each_BM)

    def evaluate(self, network: nn.Module) -> Evaluation:
        """Measure loss and error, by group, on the validation questions."""
        loss, wrong = measure(network, self.valid, self.device)
        groups = {
            name: 100 * float(np.mean(wrong[self.valid.group_of == number]))
            for number, name in enumerate(self.valid.groups)
        }
        known = self.valid.answers > 0
        return Evaluation(float(np.mean(loss[known])), float(np.mean(list(groups.values()))), groups)

    def checkpoint(self, network: nn.Module, training: dict[str, Any], metrics: dict[str, Any]) -> Checkpoint:
        """Describe the trained network."""
        return Checkpoint(
            family=self.family,
            config=asdict(self.config),
            weights=network.state_dict(),
            words=list(self.vocabulary.words),
            answers=[],
            limits={
                "max_tokens": self.options.serve_max_tokens,
                "max_question_tokens": self.options.serve_max_question_tokens,
                "max_candidates": self.options.serve_max_candidates,
                "slots": self.config.slots,
            },
            training=training,
            metrics=metrics,
            tokenizer=self.vocabulary.dump(),
        )

    def state(self) -> dict[str, Any]:
        """Return the running error of each group, which decides the next epoch's draw."""
        return {"error": list(self.material.error)} if isinstance(self.material, QuestionMaterial) else {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back the running errors."""
        if isinstance(self.material, QuestionMaterial):
            self.material.error = list(state["error"])


def draw_from(members: Ints, count: int, rng: np.random.Generator) -> Ints:
    """Take ``count`` of the members, none again before all have been taken."""
    rounds = [rng.permutation(members) for _ in range(-(-count // max(1, len(members))))]
    return np.concatenate(rounds)[:count] if rounds else members[:0]


def reader_config(family: str, shape: dict[str, Any], vocabulary: Vocabulary) -> AttentionSumReaderConfig:
    """Make the configuration of a network for this vocabulary from the fields of a preset."""
    kind = FAMILIES[family].config
    slots = shape.get("slots", AttentionSumReaderConfig.slots)
    config: AttentionSumReaderConfig = options_from(
        kind, "network", shape, vocabulary=len(vocabulary) + int(slots)
    )
    return config


def losses(score_BMT: Tensor, mention_BMT: Tensor, rival_BMT: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``-log P(answer)`` of each question ``[B, M]``: among all words, and among rivals.

    A word's probability is the sum of the attention over its mentions (eq. 4).

    Args:
        score_BMT: scores of the document's words.
        mention_BMT: true where the word is the answer.
        rival_BMT: true where the word is of the answer's kind, the answer's own mentions included.
    """
    answer_BM = score_BMT.masked_fill(~mention_BMT, FAR_BELOW).logsumexp(dim=-1)
    rivals_BM = score_BMT.masked_fill(~rival_BMT, FAR_BELOW).logsumexp(dim=-1)
    return score_BMT.logsumexp(dim=-1) - answer_BM, rivals_BM - answer_BM


@torch.no_grad()
def measure(
    network: nn.Module, questions: EncodedQuestions, device: str = "cpu"
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Answer all questions, in evaluation mode.

    Returns:
        For each its loss among the candidates, which means nothing where the document does not hold the
        answer, and whether it was answered wrongly.
    """
    network.eval()
    loss = np.zeros(len(questions))
    wrong = np.ones(len(questions), dtype=np.bool_)
    for chosen in questions.batches(np.arange(len(questions)), 32_768, 64, np.random.default_rng(0)):
        batch = questions.batch(chosen)
        score_BT = network(batch.document_BT.to(device), batch.question_BMQ[:, 0].to(device)).cpu()
        p_BC = candidate_probabilities(score_BT, batch.word_BT)
        answer_B = batch.answer_BM[:, 0]
        loss[chosen] = -p_BC.gather(1, answer_B.unsqueeze(1)).squeeze(1).clamp(min=1e-9).log().numpy()
        wrong[chosen] = ((p_BC.argmax(dim=-1) != answer_B) | (answer_B == 0)).numpy()
    return loss, wrong


def candidate_probabilities(score_BT: Tensor, number_BT: Tensor) -> Tensor:
    """Return the probability of each candidate number; that of number 0, no candidate, is 0."""
    weight_BT = torch.softmax(score_BT.masked_fill(number_BT == 0, FAR_BELOW), dim=-1) * (number_BT > 0)
    p_BC = torch.zeros(len(number_BT), int(number_BT.max()) + 1, dtype=weight_BT.dtype)
    return p_BC.scatter_add(1, number_BT, weight_BT)
