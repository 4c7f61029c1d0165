"""Stories, questions and answers as training examples, and as padded batches of token ids.

Used by every question-answering family. ``models.data.babi`` reads the bAbI tasks into this form,
``models.data.json_lines`` a user's own stories.

Legend: B batch, F facts, T tokens of a fact, Q tokens of the question, K hops.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from server.contract.text import Vocabulary


@dataclass(frozen=True, slots=True)
class Example:
    """One question about one story.

    ``supports`` are the indices (from 0) of the facts that lead to the answer, in the order of the reasoning;
    empty when the data does not say. ``task`` names the group the example is reported under.
    """

    story: tuple[str, ...]
    question: str
    answer: str
    supports: tuple[int, ...] = ()
    task: str = "stories"

    def __post_init__(self) -> None:
        """Refuse examples that no network can learn from."""
        if not self.story:
            raise ValueError("the story has no facts")
        if not self.question.strip() or not self.answer.strip():
            raise ValueError("question and answer must not be empty")
        if any(not 0 <= index < len(self.story) for index in self.supports):
            raise ValueError(f"supports {self.supports} leave the story of {len(self.story)} facts")

    def last_facts(self, count: int) -> Example:
        """Keep the last ``count`` facts; supports that fall away are dropped."""
        gone = len(self.story) - count
        if gone <= 0:
            return self
        supports = tuple(index - gone for index in self.supports if index >= gone)
        return Example(self.story[gone:], self.question, self.answer, supports, self.task)


def texts_of(examples: Iterable[Example]) -> Iterator[str]:
    """Yield every distinct fact and question, the texts a vocabulary is built from."""
    seen: set[str] = set()
    for example in examples:
        for text in (*example.story, example.question):
            if text not in seen:
                seen.add(text)
                yield text


def split_by_story(
    examples: Sequence[Example], share: float, seed: int
) -> tuple[list[Example], list[Example]]:
    """Split into training and validation examples so that no story is in both.

    Questions belong to one story when their facts are the same, wherever they stand, or when they follow one
    another and the facts of one are the beginning of the other's. ``share`` of the stories, at least one,
    goes to validation.

    Raises:
        ValueError: there is only one story.
    """
    groups: list[list[Example]] = []
    group_of: dict[tuple[str, ...], list[Example]] = {}
    previous: tuple[str, ...] = ()
    for example in examples:
        common = min(len(previous), len(example.story))
        group = group_of.get(example.story)
        if group is None and common and example.story[:common] == previous[:common]:
            group = group_of[previous]
        if group is None:
            group = []
            groups.append(group)
        group.append(example)
        group_of[example.story] = group
        previous = example.story
    if len(groups) < 2:
        raise ValueError("a validation split needs at least two stories; there is one (give --valid FILE)")
    order = np.random.default_rng(seed).permutation(len(groups))
    held_out = set(order[: max(1, round(share * len(groups)))].tolist())
    training = [example for i, group in enumerate(groups) if i not in held_out for example in group]
    validation = [example for i, group in enumerate(groups) if i in held_out for example in group]
    return training, validation


def task_order(task: str) -> tuple[int, str]:
    """Sort key of task names: words by the alphabet, then numbers by size."""
    return (int(task), "") if task.isdecimal() else (0, task)


@dataclass(frozen=True)
class StoryBatch:
    """A padded batch.

    ``gate_target_BKF`` (float32) rows sum to one, or are all zero where a hop is not supervised; the other
    tensors are int64. ``indices`` are the places of the examples among all of them.
    """

    story_BFT: Tensor
    question_BQ: Tensor
    answer_B: Tensor
    gate_target_BKF: Tensor
    task_B: NDArray[np.int64]
    indices: NDArray[np.int64]


class EncodedStories:
    """Examples as token ids: each distinct sentence is stored once, stories are rows of sentence numbers."""

    def __init__(
        self,
        examples: Sequence[Example],
        vocabulary: Vocabulary,
        answers: Sequence[str],
        tasks: Sequence[str],
    ) -> None:
        """Encode ``examples``; an answer that is not in ``answers`` becomes -1 and never counts as right."""
        numbers: dict[str, int] = {}
        self.stories = [
            np.array([numbers.setdefault(fact, len(numbers)) for fact in example.story])
            for example in examples
        ]
        self.questions = np.array(
            [numbers.setdefault(example.question, len(numbers)) for example in examples]
        )
        self.tokens_ST, self.lengths_S = _token_table([vocabulary.ids(sentence) for sentence in numbers])
        answer_number = {answer: i for i, answer in enumerate(answers)}
        self.answers = np.array([answer_number.get(example.answer, -1) for example in examples])
        task_number = {task: i for i, task in enumerate(tasks)}
        self.tasks = np.array([task_number[example.task] for example in examples])
        self.supports = [example.supports for example in examples]
        self.sizes = np.array([len(example.story) for example in examples])

    def __len__(self) -> int:
        return len(self.stories)

    def batch(self, indices: NDArray[np.int64], hops: int) -> StoryBatch:
        """Pad the chosen examples to one batch."""
        facts = int(self.sizes[indices].max())
        rows_BF = np.full((len(indices), facts), -1)
        for row, index in enumerate(indices):
            rows_BF[row, : self.sizes[index]] = self.stories[index]
        words = int(np.where(rows_BF >= 0, self.lengths_S[rows_BF], 0).max())
        story_BFT = np.where(rows_BF[..., None] >= 0, self.tokens_ST[rows_BF, :words], 0)
        questions = self.questions[indices]
        question_BQ = self.tokens_ST[questions, : int(self.lengths_S[questions].max())]
        gate_target_BKF = np.zeros((len(indices), hops, facts), dtype=np.float32)
        for row, index in enumerate(indices):
            fill_gate_target(gate_target_BKF[row], self.supports[index])
        return StoryBatch(
            torch.from_numpy(story_BFT),
            torch.from_numpy(question_BQ),
            torch.from_numpy(self.answers[indices]),
            torch.from_numpy(gate_target_BKF),
            self.tasks[indices],
            indices,
        )

    def batches(
        self,
        indices: NDArray[np.int64],
        hops: int,
        max_facts: int,
        max_questions: int,
        rng: np.random.Generator,
    ) -> Iterator[StoryBatch]:
        """Yield batches of similar story length, in random order.

        A batch has at most ``max_questions`` questions and, padding included, ``max_facts`` facts; a story
        longer than that is a batch of its own.
        """
        jittered = self.sizes[indices] * rng.uniform(0.9, 1.1, len(indices))
        ordered = indices[np.argsort(jittered, kind="stable")]
        cuts, start = [], 0
        for end in range(1, len(ordered) + 1):
            longest = int(self.sizes[ordered[start : end + 1]].max())
            if end == len(ordered) or end - start >= max_questions or (end + 1 - start) * longest > max_facts:
                cuts.append(ordered[start:end])
                start = end
        for number in rng.permutation(len(cuts)):
            yield self.batch(cuts[number], hops)


def _token_table(sentences: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    lengths = np.array([len(sentence) for sentence in sentences])
    table = np.zeros((len(sentences), int(lengths.max())), dtype=np.int64)
    for row, sentence in zip(table, sentences, strict=True):
        row[: len(sentence)] = sentence
    return table, lengths


def fill_gate_target(target_KF: NDArray[np.float32], supports: Sequence[int]) -> None:
    """Write what each hop should look at, given the supporting facts in the order of the reasoning.

    With no more facts than hops, hop ``t`` looks at fact ``t`` and the remaining hops stay at the last one.
    With more (counting, lists), every hop looks at all of them alike.
    """
    hops = len(target_KF)
    if not supports:
        return
    if len(supports) > hops:
        target_KF[:, list(supports)] = 1 / len(supports)
        return
    for hop in range(hops):
        target_KF[hop, supports[min(hop, len(supports) - 1)]] = 1.0
