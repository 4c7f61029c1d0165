"""How question-answering families learn: answer cross-entropy, gate supervision, sampling over tasks.

Used by ``models.families`` for every family whose task is ``qa``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from models.checkpoint import Checkpoint
from models.data.stories import EncodedStories, Example, StoryBatch, task_order, texts_of
from models.dmn_plus import DMNPlusConfig, DMNPlusOutput
from models.families import FAMILIES
from models.measuring import gold_recall, run
from models.presets import options_from
from models.recipe import Evaluation
from server.contract.text import Vocabulary


@dataclass(frozen=True)
class QuestionAnsweringOptions:
    """What is learnt from, and how.

    ``gate_supervision`` weighs the cross-entropy between gates and supporting facts against the answer's
    (0 = answers only, as in the paper); it is what lets a chain of look-ups be found at all (task 16) and
    makes the gates readable.
    ``max_facts`` keeps the last facts of a training story, ``long_share`` of the epochs at the end see whole
    stories.
    ``questions_an_epoch`` is drawn over tasks with weight ``floor`` + running training error, so that tasks
    which click late are not starved by those long learnt; 0 takes every example once.
    In the first ``warmup_epochs`` only ``warmup_tasks`` are drawn, as far as the data has any of them.
    ``facts_a_batch`` and ``questions_a_batch`` bound a padded batch.
    ``serve_max_facts`` and ``serve_max_words`` are the limits a bundle of this network will state.
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
    """Training of a question-answering network on encoded stories (a ``models.recipe.Recipe``).

    ``shape`` are fields of the family's configuration; vocabulary and answers are those of ``train``.
    """

    family: str
    train: Sequence[Example]
    valid: Sequence[Example]
    options: QuestionAnsweringOptions
    shape: dict[str, Any]
    device: str = "cpu"
    task_error: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Encode the examples.

        Raises:
            ValueError: a field of ``shape`` is wrong, the stories are longer than the limits, or no
                validation question has an answer that can be learnt.
        """
        self.vocabulary = build_vocabulary(self.train)
        self.answers = sorted({example.answer for example in self.train})
        self.tasks = sorted({example.task for example in (*self.train, *self.valid)}, key=task_order)
        sizes = {"vocabulary": len(self.vocabulary), "answers": len(self.answers)}
        self.config: DMNPlusConfig = options_from(
            FAMILIES[self.family].config, "network", self.shape, **sizes
        )
        short = [example.last_facts(self.options.max_facts) for example in self.train]
        self.short = self._encode(short)
        self.whole = self._encode(self.train) if self.options.long_share > 0 else self.short
        self.held_out = self._encode(self.valid)
        self.members = [np.flatnonzero(self.short.tasks == number) for number in range(len(self.tasks))]
        self.task_error = dict.fromkeys(self.tasks, 1.0)
        self._check_limits()
        self.known = self.held_out.answers >= 0
        if not self.known.any():
            raise ValueError("no validation question has an answer that a training question has")

    def _check_limits(self) -> None:
        words = int(max(self.short.lengths_S.max(), self.held_out.lengths_S.max()))
        facts = max(len(example.story) for example in (*self.train, *self.valid))
        longest = {"learning.serve_max_words": (words, self.options.serve_max_words, "sentence", "words")}
        longest["learning.serve_max_facts"] = (facts, self.options.serve_max_facts, "story", "facts")
        if self.config.sentence_encoder == "learned":
            most = self.options.serve_max_words
            longest["network.max_words"] = (most, self.config.max_words, "sentence of a request", "words")
        for knob, (length, limit, thing, unit) in longest.items():
            if length > limit:
                raise ValueError(f"a {thing} has {length} {unit}, above {limit}: --set {knob}={length}")

    def _encode(self, examples: Sequence[Example]) -> EncodedStories:
        return EncodedStories(examples, self.vocabulary, self.answers, self.tasks)

    def network(self) -> nn.Module:
        """Build the network."""
        return FAMILIES[self.family].network(self.config)

    def batches(self, epoch: int, epochs: int, rng: np.random.Generator) -> tuple[int, Iterable[StoryBatch]]:
        """Draw this epoch's questions and batch them by story length.

        Args:
            epoch: from 0.
            epochs: how many there will be.
            rng: decides what is drawn, and the order of the batches.

        Returns:
            The number of questions, and their batches.
        """
        whole = epoch >= epochs * (1 - self.options.long_share)
        indices = self._draw(epoch, rng)
        stories = self.whole if whole else self.short
        bounds = (self.options.facts_a_batch, self.options.questions_a_batch)
        return len(indices), stories.batches(indices, self.config.hops, *bounds, rng)

    def _draw(self, epoch: int, rng: np.random.Generator) -> NDArray[np.int64]:
        if not self.options.questions_an_epoch:
            return np.arange(len(self.short))
        weights = np.array([self.options.floor + self.task_error[task] for task in self.tasks])
        weights *= [len(members) > 0 for members in self.members]
        warming = weights * [task in self.options.warmup_tasks for task in self.tasks]
        if epoch < self.options.warmup_epochs and warming.any():
            weights = warming
        counts = rng.multinomial(self.options.questions_an_epoch, weights / weights.sum())
        return np.concatenate(
            [_draw_from(members, count, rng) for members, count in zip(self.members, counts, strict=True)]
        )

    @property
    def unseen_answers(self) -> list[str]:
        """The answers of validation questions that no training question has: they can only count as wrong."""
        return sorted({example.answer for example in self.valid}.difference(self.answers))

    def loss(self, network: nn.Module, batch: StoryBatch) -> tuple[Tensor, int]:
        """Return the last hop's answer cross-entropy plus weighted gate supervision, and the batch size."""
        output: DMNPlusOutput = network(batch.story_BFT.to(self.device), batch.question_BQ.to(self.device))
        answer_B = batch.answer_B.to(self.device)
        logits_BA = output.hop_logits_BKA[:, -1]
        loss = cross_entropy(logits_BA, answer_B)
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
        """Measure loss, error per task and gold facts on top, on whole validation stories.

        An answer that is never learnt counts as an error, but has no loss.
        """
        results = run(network, self.held_out, self.config.hops, self.device)
        groups = {
            task: 100 * float(np.mean(results.wrong[self.held_out.tasks == number]))
            for number, task in enumerate(self.tasks)
            if (self.held_out.tasks == number).any()
        }
        recall = gold_recall(results.gates, self.held_out.supports)
        return Evaluation(
            loss=float(np.mean(results.loss[self.known])),
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
        return {"task_error": dict(self.task_error)}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back the running errors."""
        self.task_error = dict(state["task_error"])


def _draw_from(members: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Take ``count`` of the members, none again before all have been taken."""
    rounds = [rng.permutation(members) for _ in range(-(-count // max(1, len(members))))]
    return np.concatenate(rounds)[:count] if rounds else members[:0]


def build_vocabulary(examples: Iterable[Example]) -> Vocabulary:
    """Collect the words of the training stories, in alphabetical order."""
    cutter = Vocabulary.from_words(())
    return Vocabulary.from_words(sorted({word for text in texts_of(examples) for word in cutter.split(text)}))


def gate_loss(output: DMNPlusOutput, target_BKF: Tensor) -> Tensor:
    """Return the cross-entropy between gates and supporting facts, a mean over the supervised hops.

    Args:
        output: what the network returned.
        target_BKF: float32, rows sum to one, or to zero where a hop is not supervised.
    """
    supervised = (target_BKF.sum(dim=-1) > 0).sum().clamp(min=1)
    return -(target_BKF * output.log_gate_BKF).sum() / supervised
