"""Stories, questions and answers as training examples, and as padded batches of token ids.

Used by every question-answering family. ``models.data.babi`` reads the bAbI tasks into this form, ``read_jsonl``
a user's own stories.

Legend: B batch, F facts, T tokens of a fact, Q tokens of the question, K hops.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def read_jsonl(path: Path) -> list[Example]:
    """Read one example a line: ``{"story": [...], "question": ..., "answer": ..., "supports": [0, 2], "task": ...}``.

    ``supports`` (indices from 0) and ``task`` are optional.

    Raises:
        ValueError: a line is not of this form; the message gives its number.
    """
    examples = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                examples.append(_example(json.loads(line)))
            except (KeyError, TypeError, ValueError) as error:
                reason = f"field {error} is missing" if isinstance(error, KeyError) else str(error)
                raise ValueError(f"{path.name}, line {number}: {reason}") from error
    if not examples:
        raise ValueError(f"{path.name} holds no examples")
    return examples


def _example(record: dict[str, Any]) -> Example:
    story = record["story"]
    if not isinstance(story, list) or not all(isinstance(fact, str) for fact in story):
        raise ValueError("story must be a list of sentences")
    return Example(
        story=tuple(story),
        question=str(record["question"]),
        answer=str(record["answer"]),
        supports=tuple(int(index) for index in record.get("supports", ())),
        task=str(record.get("task", "stories")),
    )


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

    Questions belong to one story when one's facts are the beginning of the other's, which is recognised by the first fact
    of a run of growing stories. ``share`` of the stories, at least one, goes to validation.
    """
    groups: list[list[Example]] = []
    for example in examples:
        previous = groups[-1][-1].story if groups else None
        if previous is not None and example.story[: len(previous)] == previous:
            groups[-1].append(example)
        else:
            groups.append([example])
    if len(groups) < 2:
        raise ValueError("a validation split needs at least two stories")
    order = np.random.default_rng(seed).permutation(len(groups))
    held_out = set(order[: max(1, round(share * len(groups)))].tolist())
    training = [example for i, group in enumerate(groups) if i not in held_out for example in group]
    validation = [example for i, group in enumerate(groups) if i in held_out for example in group]
    return training, validation


@dataclass(frozen=True)
class StoryBatch:
    """A padded batch. ``gate_target_BKF`` rows sum to one, or are all zero where a hop is not supervised."""

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
        """Encode ``examples``; an answer that is not in ``answers`` becomes -1, which never counts as right."""
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
        """Yield batches of similar story length, in random order; padded facts stay below ``max_facts`` a batch."""
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
