"""Passages to learn reading from: articles as arrays, windows of sentences with many questions each.

The document is encoded once for all questions about it, which is what makes learning fast: a window's next
few sentences are asked about, one question for each of their names and nouns that the window holds.

Legend: B windows, M questions of a window, T tokens, Q tokens of a question.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.attention_sum_reader import PADDING, PLACEHOLDER_ID
from models.data.cloze import KINDS, Sentence
from server.contract.text import Vocabulary

Ints = NDArray[np.int64]
KIND_NUMBER = {kind: number for number, kind in enumerate(KINDS, start=1)}


@dataclass(frozen=True)
class PassageBatch:
    """Documents with several questions each; all int64, right-padded with 0.

    ``word_BT`` numbers the different words of the documents, known or not, and ``answer_BM`` is one of these
    numbers, 0 where there is no question. ``mention_BMT`` is true on the mentions of the answer to look at,
    ``rival_BMT`` on words of the answer's kind. ``group_B`` numbers what the questions are reported under.
    """

    document_BT: Tensor
    word_BT: Tensor
    question_BMQ: Tensor
    answer_BM: Tensor
    mention_BMT: Tensor
    rival_BMT: Tensor
    group_B: Ints


@dataclass(frozen=True)
class Windows:
    """How passages are cut from articles.

    ``context`` sentences are the document, questions are about the next ``ahead`` sentences, at most
    ``questions`` of them, drawn anew each time. ``max_tokens`` bounds a document (its oldest words go),
    ``max_question_tokens`` a question (words far from the placeholder go). ``anonymised`` is the share of
    known words of either kind that become a slot for one window: what a rare word goes through.
    """

    context: int = 20
    ahead: int = 5
    questions: int = 16
    max_tokens: int = 700
    max_question_tokens: int = 40
    anonymised: float = 0.0


class Articles:
    """Articles as one array of words with the borders of their sentences."""

    def __init__(self, articles: Sequence[Sequence[Sentence]], vocabulary: Vocabulary, slots: int) -> None:
        numbers: dict[str, int] = {}
        words: list[int] = []
        kinds: list[int] = []
        starts = [0]
        self.articles: list[tuple[int, int]] = []
        for article in articles:
            first = len(starts) - 1
            for sentence in article:
                words += [numbers.setdefault(word, len(numbers) + 1) for word in sentence.words]
                kinds += [KIND_NUMBER.get(kind, 0) for kind in sentence.kinds]
                starts.append(len(words))
            self.articles.append((first, len(starts) - 1))
        self.words, self.kinds, self.starts = np.array(words), np.array(kinds), np.array(starts)
        known = [vocabulary.id_of(word) for word in numbers]
        self.ids = np.array([PADDING, *(-1 if one is None else one for one in known)])
        self.slots = np.arange(len(vocabulary), len(vocabulary) + slots)

    def windows(self, cut: Windows, rng: np.random.Generator) -> Ints:
        """Return the first sentence of each window, one every ``ahead`` sentences, from a random offset."""
        return np.concatenate(
            [
                np.arange(first + int(rng.integers(cut.ahead)), last - cut.context, cut.ahead)
                for first, last in self.articles
            ]
        )

    def batches(
        self, starts: Ints, cut: Windows, size: int, rng: np.random.Generator
    ) -> Iterator[PassageBatch]:
        """Yield batches of windows of similar length, in random order."""
        lengths = self.starts[starts + cut.context] - self.starts[starts]
        ordered = starts[np.argsort(lengths * rng.uniform(0.9, 1.1, len(starts)), kind="stable")]
        chunks = [ordered[place : place + size] for place in range(0, len(ordered), size)]
        for number in rng.permutation(len(chunks)):
            batch = self._batch(chunks[number], cut, rng)
            if batch is not None:
                yield batch

    def _batch(self, starts: Ints, cut: Windows, rng: np.random.Generator) -> PassageBatch | None:
        passages = [passage for start in starts if (passage := self._passage(int(start), cut, rng))]
        if not passages:
            return None
        documents = [one.document for one in passages]
        many = max(len(one.questions) for one in passages)
        longest = max(len(question) for one in passages for question in one.questions)
        questions = np.zeros((len(passages), many, longest), dtype=np.int64)
        answers = np.zeros((len(passages), many), dtype=np.int64)
        rivals = np.zeros((len(passages), many, max(map(len, documents))), dtype=np.bool_)
        for row, one in enumerate(passages):
            for place, question in enumerate(one.questions):
                questions[row, place, : len(question)] = question
                rivals[row, place, : len(one.words)] = one.rivals[one.kinds[place]]
            answers[row, : len(one.answers)] = one.answers
            questions[row, len(one.questions) :, 0] = PLACEHOLDER_ID
        words = padded([one.words for one in passages])
        mentions = (words[:, None] == answers[..., None]) & (answers[..., None] > 0)
        return PassageBatch(
            torch.from_numpy(padded(documents)),
            torch.from_numpy(words),
            torch.from_numpy(questions),
            torch.from_numpy(answers),
            torch.from_numpy(mentions),
            torch.from_numpy(rivals),
            np.zeros(len(passages), dtype=np.int64),
        )

    def _passage(self, start: int, cut: Windows, rng: np.random.Generator) -> _Passage | None:
        end = int(self.starts[start + cut.context])
        begin = max(int(self.starts[start]), end - cut.max_tokens)
        stop = self._last_sentence(start + cut.context, cut.ahead)
        words, kinds = self.words[begin:end], self.kinds[begin:end]
        asked = np.arange(end, self.starts[stop])
        asked = asked[(self.kinds[asked] > 0) & np.isin(self.words[asked], words)]
        if len(asked) == 0:
            return None
        chosen = np.sort(rng.permutation(asked)[: cut.questions])
        ids = self._ids(
            self.words[begin : self.starts[stop]], self.kinds[begin : self.starts[stop]], cut, rng
        )
        rivals = {kind: np.isin(words, words[kinds == kind]) for kind in (1, 2)}
        for place in chosen:  # a name that only begins sentences in the document
            rivals[int(self.kinds[place])] |= words == self.words[place]
        questions = [self._question(int(place), begin, ids, cut) for place in chosen]
        return _Passage(ids[: end - begin], words, questions, self.words[chosen], self.kinds[chosen], rivals)

    def _last_sentence(self, first: int, ahead: int) -> int:
        """Return the border after ``ahead`` sentences of the same article."""
        article = next(last for begin, last in self.articles if begin <= first <= last)
        return min(first + ahead, article)

    def _ids(self, words: Ints, kinds: Ints, cut: Windows, rng: np.random.Generator) -> Ints:
        """Return token ids; each unknown word, and some known ones, gets a slot drawn for this window."""
        different, inverse = np.unique(words, return_inverse=True)
        ids = self.ids[different]
        hidden = ids < 0
        if cut.anonymised > 0:
            nameable = np.isin(different, words[kinds > 0])
            hidden |= nameable & (rng.random(len(different)) < cut.anonymised)
        places = np.flatnonzero(hidden)
        rounds = [rng.permutation(self.slots) for _ in range(-(-len(places) // len(self.slots)))]
        ids[places] = np.concatenate([*rounds, self.slots[:0]])[: len(places)]
        return ids[inverse]

    def _question(self, place: int, begin: int, ids: Ints, cut: Windows) -> Ints:
        sentence = int(np.searchsorted(self.starts, place, side="right")) - 1
        first, last = int(self.starts[sentence]), int(self.starts[sentence + 1])
        if last - first > cut.max_question_tokens:
            first = max(first, place - cut.max_question_tokens // 2)
            last = min(last, first + cut.max_question_tokens)
        question = ids[first - begin : last - begin].copy()
        question[place - first] = PLACEHOLDER_ID
        return question


@dataclass(frozen=True)
class _Passage:
    document: Ints
    words: Ints
    questions: list[Ints]
    answers: Ints
    kinds: Ints
    rivals: dict[int, NDArray[np.bool_]]


def padded(rows: Sequence[Ints]) -> Ints:
    """Stack rows of different length, right-padded with 0."""
    table = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    for row, values in zip(table, rows, strict=True):
        row[: len(values)] = values
    return table
