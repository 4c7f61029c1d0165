"""How question-answering families learn: answer cross-entropy, gate supervision, sampling over tasks.

Used by ``models.families`` for every family whose task is ``qa``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from models.checkpoint import Checkpoint
from models.data.stories import EncodedStories, Example, StoryBatch, texts_of
from models.dmn_plus import DMNPlusOutput
from models.families import FAMILIES
from models.training import Evaluation
from server.contract.text import Vocabulary


@dataclass(frozen=True)
class QuestionAnsweringOptions:
    """What is learnt from, and how.

    ``gate_supervision`` weighs the cross-entropy between gates and supporting facts against the answer's (0 = answers
    only, as in the paper); it is what lets a chain of look-ups be found at all (task 16) and makes the gates readable.
    ``max_facts`` keeps the last facts of a training story, ``long_share`` of the epochs at the end see whole stories.
    ``questions_an_epoch`` is drawn over tasks with weight ``floor`` + running training error, so that tasks which
    click late are not starved by those long learnt; 0 takes every example once.
    In the first ``warmup_epochs`` only ``warmup_tasks`` are drawn.
    ``facts_a_batch`` and ``questions_a_batch`` bound a padded batch.
    """

    gate_supervision: float = 0.0
    max_facts: int = 70
    long_share: float = 0.0
    questions_an_epoch: int = 0
    floor: float = 0.05
    warmup_tasks: tuple[str, ...] = ()
    warmup_epochs: int = 0
    facts_a_batch: int = 2048
    questions_a_batch: int = 128
    serve_max_facts: int = 256
    serve_max_words: int = 32


@dataclass
class QuestionAnsweringRecipe:
    """Training of a question-answering network on encoded stories (a ``models.training.Recipe``)."""

    family: str
    train: Sequence[Example]
    valid: Sequence[Example]
    options: QuestionAnsweringOptions
    shape: dict[str, Any]
    device: str = "cpu"
    task_error: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.vocabulary = build_vocabulary(self.train)
        self.answers = sorted({example.answer for example in self.train})
        self.tasks = sorted({example.task for example in (*self.train, *self.valid)}, key=_natural)
        sizes = {"vocabulary": len(self.vocabulary), "answers": len(self.answers)}
        self.config = FAMILIES[self.family].config(**sizes, **self.shape)
        short = [example.last_facts(self.options.max_facts) for example in self.train]
        self.short = self._encode(short)
        self.whole = self._encode(self.train) if self.options.long_share > 0 else self.short
        self.held_out = self._encode(self.valid)
        self.members = [np.flatnonzero(self.short.tasks == number) for number in range(len(self.tasks))]
        self.task_error = dict.fromkeys(self.tasks, 1.0)

    def _encode(self, examples: Sequence[Example]) -> EncodedStories:
        return EncodedStories(examples, self.vocabulary, self.answers, self.tasks)

    @property
    def parameters(self) -> int:
        """Count the weights of the network."""
        return sum(weight.numel() for weight in self.network().parameters())

    def network(self) -> nn.Module:
        """Build the network."""
        return FAMILIES[self.family].network(self.config)

    def batches(self, epoch: int, epochs: int, rng: np.random.Generator) -> tuple[int, Iterable[StoryBatch]]:
        """Draw this epoch's questions and batch them by story length."""
        whole = epoch >= epochs * (1 - self.options.long_share)
        indices = self._draw(epoch, rng)
        stories = self.whole if whole else self.short
        bounds = (self.options.facts_a_batch, self.options.questions_a_batch)
        return len(indices), stories.batches(indices, self.config.hops, *bounds, rng)

    def _draw(self, epoch: int, rng: np.random.Generator) -> NDArray[np.int64]:
        if not self.options.questions_an_epoch:
            return np.arange(len(self.short))
        weights = np.array([self.options.floor + self.task_error[task] for task in self.tasks])
        if epoch < self.options.warmup_epochs:
            weights *= [task in self.options.warmup_tasks for task in self.tasks]
        counts = rng.multinomial(self.options.questions_an_epoch, weights / weights.sum())
        return np.concatenate(
            [_draw_from(members, count, rng) for members, count in zip(self.members, counts, strict=True)]
        )

    def loss(self, network: nn.Module, batch: StoryBatch) -> tuple[Tensor, int]:
        """Answer cross-entropy of the last hop plus weighted gate supervision."""
        output: DMNPlusOutput = network(batch.story_BFT.to(self.device), batch.question_BQ.to(self.device))
        answer_B = batch.answer_B.to(self.device)
        logits_BA = output.hop_logits_BKA[:, -1]
        loss = F.cross_entropy(logits_BA, answer_B)
        if self.options.gate_supervision > 0:
            loss = loss + self.options.gate_supervision * gate_loss(
                output, batch.gate_target_BKF.to(self.device)
            )
        self._count_errors(batch.task_B, (logits_BA.argmax(dim=-1) != answer_B).cpu().numpy())
        return loss, len(answer_B)

    def _count_errors(self, task_B: NDArray[np.int64], wrong_B: NDArray[np.bool_]) -> None:
        for number in np.unique(task_B):
            of_task = wrong_B[task_B == number]
            keep = 0.999 ** len(of_task)
            name = self.tasks[number]
            self.task_error[name] = keep * self.task_error[name] + (1 - keep) * float(of_task.mean())

    def evaluate(self, network: nn.Module) -> Evaluation:
        """Measure loss, error per task and how often the gold facts are on top, on whole validation stories."""
        results = run(network, self.held_out, self.config.hops, self.device)
        groups = {
            task: 100 * float(np.mean(results.wrong[self.held_out.tasks == number]))
            for number, task in enumerate(self.tasks)
            if (self.held_out.tasks == number).any()
        }
        recall = gold_recall(results.gates, self.held_out.supports)
        return Evaluation(
            loss=float(np.mean(results.loss)),
            error=float(np.mean(list(groups.values()))),
            groups=groups,
            extra={} if recall is None else {"gold_recall": recall},
        )

    def checkpoint(self, network: nn.Module, training: dict[str, Any], metrics: dict[str, Any]) -> Checkpoint:
        """Describe the trained network."""
        limits = {
            "max_facts": self.options.serve_max_facts,
            "max_words": self.options.serve_max_words,
            "max_question_words": self.options.serve_max_words,
        }
        return Checkpoint(
            family=self.family,
            config=asdict(self.config),
            weights=network.state_dict(),
            words=list(self.vocabulary.words),
            answers=list(self.answers),
            limits=limits,
            training=training,
            metrics=metrics,
        )

    def state(self) -> dict[str, Any]:
        """Return the running error of each task, which decides the next epoch's draw."""
        return {"task_error": self.task_error}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back the running errors."""
        self.task_error = dict(state["task_error"])


def build_vocabulary(examples: Iterable[Example]) -> Vocabulary:
    """Collect the words of the training stories, in alphabetical order."""
    cutter = Vocabulary.from_words(())
    return Vocabulary.from_words(sorted({word for text in texts_of(examples) for word in cutter.split(text)}))


def gate_loss(output: DMNPlusOutput, target_BKF: Tensor) -> Tensor:
    """Cross-entropy between gates and supporting facts, a mean over the supervised hops."""
    supervised = (target_BKF.sum(dim=-1) > 0).sum().clamp(min=1)
    return -(target_BKF * output.log_gate_BKF).sum() / supervised


@dataclass(frozen=True)
class Results:
    """Per example: loss, whether the answer was wrong, and the gates ``[K, F]`` without padding."""

    loss: NDArray[np.float64]
    wrong: NDArray[np.bool_]
    gates: list[NDArray[np.float32]]


@torch.no_grad()
def run(network: nn.Module, stories: EncodedStories, hops: int, device: str = "cpu") -> Results:
    """Run a network over all stories."""
    network.eval()
    loss = np.zeros(len(stories))
    wrong = np.zeros(len(stories), dtype=np.bool_)
    gates: list[NDArray[np.float32]] = [np.zeros((0, 0), np.float32)] * len(stories)
    everything = np.arange(len(stories))
    for batch in stories.batches(everything, hops, 8192, 512, np.random.default_rng(0)):
        output: DMNPlusOutput = network(batch.story_BFT.to(device), batch.question_BQ.to(device))
        log_p_BA = output.hop_logits_BKA[:, -1].log_softmax(dim=-1).cpu()
        known_B = batch.answer_B.clamp(min=0)
        loss[batch.indices] = -log_p_BA.gather(1, known_B.unsqueeze(1)).squeeze(1).numpy()
        wrong[batch.indices] = (log_p_BA.argmax(dim=-1) != batch.answer_B).numpy()
        for row, index in enumerate(batch.indices):
            gates[index] = output.gate_BKF[row, :, : stories.sizes[index]].cpu().numpy()
    return Results(loss, wrong, gates)


def gold_recall(gates: Sequence[NDArray[np.float32]], supports: Sequence[Sequence[int]]) -> float | None:
    """Return in percent how many gold facts are among the top gates, or None without gold facts.

    With ``n`` gold facts, a fact counts when its largest gate over the hops is among the story's ``n`` largest.
    The mean is over examples.
    """
    shares = []
    for gate_KF, gold in zip(gates, supports, strict=True):
        if gold:
            top = np.argsort(-gate_KF.max(axis=0), kind="stable")[: len(set(gold))]
            shares.append(len(set(top.tolist()) & set(gold)) / len(set(gold)))
    return 100 * float(np.mean(shares)) if shares else None


def _draw_from(members: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    rounds = [rng.permutation(members) for _ in range(-(-count // len(members)))]
    return np.concatenate(rounds)[:count] if rounds else members[:0]


def _natural(task: str) -> tuple[int, str]:
    return (int(task), "") if task.isdigit() else (0, task)
