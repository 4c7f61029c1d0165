"""Cloze questions as token ids: what a reader is measured on, and what it learns from single questions.

Legend: B batch, M questions of a document (1 here), T tokens, Q tokens of the question.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from models.data.cloze import Cloze, most_frequent_candidate, most_recent_candidate
from models.data.passages import Ints, PassageBatch, padded
from server.contract.text import Vocabulary
from server.tasks.passages import Slots, number_candidates


class EncodedQuestions:
    """Cloze questions with the words of each cut as the server cuts them.

    Without candidates, every different word of the document is one. Candidates are numbered from 1 in the
    order they come; ``answers`` are these numbers, 0 where the document does not hold the answer.
    """

    def __init__(self, questions: Sequence[Cloze], vocabulary: Vocabulary, slots: int) -> None:
        self.questions = questions
        self.first_slot, self.slots = len(vocabulary), slots
        self.groups = list(dict.fromkeys(one.group for one in questions))
        self.group_of = np.array([self.groups.index(one.group) for one in questions], dtype=np.int64)
        self.documents: list[Ints] = []
        self.asked: list[Ints] = []
        self.numbers: list[Ints] = []
        self.proofs: list[NDArray[np.bool_]] = []
        answers: list[int] = []
        cut = cache(vocabulary.split)  # sentences come again and again
        for one in questions:
            unknown = Slots(vocabulary, slots)
            lines = [cut(line) for line in one.document.split("\n")]
            words = [word for line in lines for word in line]
            self.documents.append(unknown.ids(words))
            self.asked.append(unknown.ids(cut(one.question)))
            candidates = [tuple(cut(text)) for text in one.candidates]
            numbered = {
                c: place for place, c in enumerate(candidates or dict.fromkeys((w,) for w in words), 1)
            }
            self.numbers.append(number_candidates(words, numbered))
            number = numbered.get(tuple(cut(one.answer)), 0)
            answers.append(number if number in self.numbers[-1] else 0)
            proof = self.numbers[-1] == number
            inside = proof & in_lines(one.evidence, [len(line) for line in lines])
            self.proofs.append(inside if inside.any() else proof)
        self.answers = np.array(answers, dtype=np.int64)
        self.sizes = np.array([len(document) for document in self.documents], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.questions)

    @property
    def longest(self) -> tuple[int, int, int]:
        """Return the most words of a document and of a question, and the most candidates."""
        numbers = max(int(one.max()) for one in self.numbers)
        return int(self.sizes.max()), max(map(len, self.asked)), numbers

    def batch(self, indices: Ints, rng: np.random.Generator | None = None) -> PassageBatch:
        """Pad the chosen questions to one batch; with ``rng`` the slots of each trade places."""
        documents = padded([self.documents[index] for index in indices])
        questions = padded([self.asked[index] for index in indices])
        if rng is not None:
            documents, questions = self._relabelled(documents, questions, rng)
        numbers = padded([self.numbers[index] for index in indices])
        proofs = padded([self.proofs[index].astype(np.int64) for index in indices])
        return PassageBatch(
            torch.from_numpy(documents),
            torch.from_numpy(numbers),
            torch.from_numpy(questions[:, None]),
            torch.from_numpy(self.answers[indices][:, None]),
            torch.from_numpy(proofs[:, None] > 0),
            torch.from_numpy(numbers[:, None] > 0),
            self.group_of[indices],
        )

    def _relabelled(self, documents: Ints, questions: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """Give every row its own order of the slots, so that none of them can come to mean anything."""
        shuffled = self.first_slot + rng.permuted(np.tile(np.arange(self.slots), (len(documents), 1)), axis=1)
        relabel = [
            np.where(
                ids >= self.first_slot,
                np.take_along_axis(shuffled, np.maximum(ids - self.first_slot, 0), axis=1),
                ids,
            )
            for ids in (documents, questions)
        ]
        return relabel[0], relabel[1]

    def batches(
        self, indices: Ints, max_tokens: int, max_questions: int, rng: np.random.Generator
    ) -> Iterator[Ints]:
        """Cut questions into batches of similar length, in random order; yields the places of each.

        A batch has at most ``max_questions`` and, padding included, ``max_tokens`` document words; a longer
        document is a batch of its own.
        """
        ordered = indices[
            np.argsort(self.sizes[indices] * rng.uniform(0.9, 1.1, len(indices)), kind="stable")
        ]
        cuts, start = [], 0
        for end in range(1, len(ordered) + 1):
            longest = int(self.sizes[ordered[start : end + 1]].max())
            full = end - start >= max_questions or (end + 1 - start) * longest > max_tokens
            if end == len(ordered) or full:
                cuts.append(ordered[start:end])
                start = end
        for number in rng.permutation(len(cuts)):
            yield cuts[number]


def mentioned(numbers: Ints, lengths: dict[int, int]) -> list[int]:
    """Return the numbers of the candidates in the order of their mentions; a mention has so many words."""
    found: list[int] = []
    place = 0
    while place < len(numbers):
        number = int(numbers[place])
        found += [number] if number else []
        place += lengths.get(number, 1)
    return found


def in_lines(evidence: Sequence[int], lengths: Sequence[int]) -> NDArray[np.bool_]:
    """Say for each word of a document whether it stands in one of these lines; lines have so many words."""
    return np.repeat(np.isin(np.arange(len(lengths)), evidence), lengths)


def baselines(questions: Sequence[Cloze], cutter: Vocabulary) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Say for each question whether the most frequent, and the most recent, candidate is the answer.

    Candidates of several words are compared as the words they are.
    """
    frequent, recent = [], []
    for one in questions:
        words = cutter.split(one.document)
        candidates = [tuple(cutter.split(text)) for text in one.candidates] or [(word,) for word in words]
        numbered = {candidate: place for place, candidate in enumerate(dict.fromkeys(candidates), 1)}
        lengths = {number: len(candidate) for candidate, number in numbered.items()}
        found = [str(number) for number in mentioned(number_candidates(words, numbered), lengths)]
        choices = [str(number) for number in numbered.values()]
        answer = str(numbered.get(tuple(cutter.split(one.answer)), 0))
        frequent.append(most_frequent_candidate(found, choices) == answer)
        recent.append(most_recent_candidate(found, choices) == answer)
    return np.array(frequent, dtype=np.bool_), np.array(recent, dtype=np.bool_)
