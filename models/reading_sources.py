"""Where a reader's questions come from: WikiText, bAbI, files of questions, any plain text, or the sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from models.data import babi
from models.data.cloze import (
    CONTEXT,
    KINDS,
    Cloze,
    Sentence,
    cloze_questions,
    read_sentence,
    reading_vocabulary,
    split_text,
)
from models.data.cloze_files import read_clozes
from models.data.fetch import dataset_folder
from models.data.sample import sample_stories
from models.data.sources import BABI_RECORD, SAMPLE_RECORD
from models.data.stories import Example
from models.data.wikitext import read_articles
from server.tasks.passages import PLACEHOLDER

Part = Literal["train", "valid", "test"]
ANSWER_IN_STORY = (1, 2, 3, 4, 5, 11, 12, 13, 14, 16)
"""The bAbI tasks whose answer is always a word of the story."""

WIKITEXT_RECORD = {
    "name": "WikiText-2",
    "licence": "CC BY-SA (Wikipedia contributors)",
    "source": "Merity, Xiong, Bradbury, Socher 2016, arXiv 1609.07843",
    "note": "Cloze questions were made from it by models.data.cloze.",
}
EVIDENCE_NOTE = "Of an answer's mentions, those in the supporting facts were taught."
QUESTIONS: dict[str, int] = {"valid": 500, "test": 2500}
"""How many questions of each kind are made from the held-out articles of WikiText."""

Articles = list[list[Sentence]]


@dataclass(frozen=True)
class ReadingSelection:
    """What to learn reading from.

    ``source`` is ``wikitext``, ``babi``, ``sample``, a plain text (``.txt``) to make questions from, or
    questions in files (``models.data.cloze_files``); ``valid`` is a validation file of the same kind, needed
    for files. ``tasks`` chooses bAbI tasks, ``renamed`` copies of a task's stories with interchangeable names
    permuted. ``vocabulary`` keeps the most frequent words, and ``at_least`` those seen as often. ``watched``
    is the most validation questions of a bAbI task that are looked at after each epoch, 0 for all.
    ``context``, ``ahead``, ``questions`` and ``anonymised`` say how passages are cut from running text
    (``models.data.passages.Windows``).
    """

    source: str = "wikitext"
    valid: str = ""
    tasks: tuple[int, ...] = ()
    renamed: dict[str, int] | None = None
    vocabulary: int = 10_000
    at_least: int = 2
    watched: int = 200
    context: int = CONTEXT
    ahead: int = 5
    questions: int = 16
    anonymised: float = 0.0

    def __post_init__(self) -> None:
        """Refuse tasks whose answer a reader cannot find, and files without a validation file."""
        wrong = [task for task in self.tasks if task not in ANSWER_IN_STORY]
        if wrong:
            raise ValueError(
                f"a reader answers with a word of the story: tasks {', '.join(map(str, ANSWER_IN_STORY))}, "
                f"not {', '.join(map(str, wrong))}"
            )
        if not self.valid and self.source not in ("wikitext", "babi", "sample"):
            raise ValueError("questions or text of your own need a validation file: --valid FILE")

    def plain(self) -> dict[str, Any]:
        """Return the fields that are set, for the provenance of a checkpoint."""
        return {name: value for name, value in vars(self).items() if value}


@dataclass(frozen=True)
class Texts:
    """What was read: running text to cut passages from or single questions, and validation questions."""

    articles: Articles
    train: list[Cloze]
    valid: list[Cloze]
    records: tuple[dict[str, str], ...]
    notes: tuple[str, ...] = ()

    def words(self, most: int, at_least: int) -> list[str]:
        """Return the training texts' most frequent words in alphabetical order.

        Entity ids (``@entity7``) are left out. Data of the same words has the same vocabulary, whatever
        their counts.
        """
        cut = cache(reading_vocabulary(()).split)  # sentences come again and again
        counts = Counter(word for article in self.articles for one in article for word in one.words)
        for one in self.train:
            for line in (*one.document.split("\n"), one.question):
                counts.update(cut(line))
        kept = [
            word for word, count in counts.most_common() if count >= at_least and not word.startswith("@")
        ]
        return sorted(kept[:most])


def load_texts(selection: ReadingSelection, seed: int) -> Texts:
    """Read (and for bAbI fetch, where needed) what was chosen.

    Raises:
        OSError: a file is missing or could not be fetched.
        ValueError: the data is not of the right form.
    """
    if selection.source == "wikitext":
        articles = articles_of(wikitext_file("train"))
        return Texts(articles, [], held_out_clozes("wikitext", (), "valid"), (WIKITEXT_RECORD,))
    if selection.source == "babi":
        return _babi(selection, seed)
    if selection.source == "sample":
        return Texts([], sample_clozes(400, seed), sample_clozes(100, 20_001), (SAMPLE_RECORD,))
    path, valid = Path(selection.source), Path(selection.valid)
    record = {"name": path.name, "licence": "not stated", "source": "own data"}
    if path.suffix == ".txt":
        return Texts(articles_of(path), [], clozes_of(valid, 1000), (record,))
    return Texts([], read_clozes(path), read_clozes(valid), (record,))


def held_out_clozes(source: str, tasks: Sequence[int], part: Part) -> list[Cloze]:
    """Read or make held-out questions; those of WikiText are the same every time.

    Raises:
        OSError: a file is missing or could not be fetched.
        ValueError: the data is not of the right form.
    """
    if source == "wikitext":
        return clozes_of(wikitext_file(part), QUESTIONS[part])
    if source == "babi":
        folder = dataset_folder("babi")
        return [
            as_cloze(one) for task in tasks or ANSWER_IN_STORY for one in babi.read_task(folder, task, part)
        ]
    if source == "sample":
        return sample_clozes(200, 20_001)
    if source == "lambada":
        return read_clozes(dataset_folder("lambada") / "lambada_development_plain_text.txt.gz")
    return clozes_of(Path(source), 1000) if source.endswith(".txt") else read_clozes(Path(source))


def wikitext_file(part: Part) -> Path:
    """Return the file of one part of WikiText-2, packed or not."""
    packed = dataset_folder("wikitext-2") / f"{part}.txt.gz"
    return packed if packed.exists() else packed.with_suffix("")


def articles_of(path: Path) -> Articles:
    """Read the articles of a file as sentences; WikiText's headings tell them apart."""
    cutter = reading_vocabulary(())
    return [[read_sentence(one, cutter) for one in split_text(text)] for text in read_articles(path)]


def clozes_of(path: Path, count: int) -> list[Cloze]:
    """Make up to ``count`` questions of each kind from a text."""
    articles = articles_of(path)
    return [one for kind in KINDS for one in cloze_questions(articles, kind, count, seed=1)]


def _babi(selection: ReadingSelection, seed: int) -> Texts:
    loaded = babi.load_babi(dataset_folder("babi"), selection.tasks or ANSWER_IN_STORY)
    train: list[Example] = []
    for task in dict.fromkeys(example.task for example in loaded.train):
        own = [example for example in loaded.train if example.task == task]
        copies = (selection.renamed or {}).get(task, 0)
        train += babi.with_renamed(own, copies, seed) if copies else own
    valid = some_of_each([as_cloze(one) for one in loaded.valid], selection.watched)
    return Texts([], [as_cloze(one) for one in train], valid, (BABI_RECORD,), (*loaded.notes, EVIDENCE_NOTE))


def some_of_each(questions: Sequence[Cloze], most: int) -> list[Cloze]:
    """Keep up to ``most`` questions of each group, drawn with a fixed seed; 0 keeps all."""
    if not most:
        return list(questions)
    rng = np.random.default_rng(0)
    groups = dict.fromkeys(one.group for one in questions)
    members = [[one for one in questions if one.group == group] for group in groups]
    return [own[place] for own in members for place in rng.permutation(len(own))[:most]]


def as_cloze(example: Example) -> Cloze:
    """Read a story as a document; every word of it is a candidate."""
    return Cloze(
        "\n".join(example.story),
        example.question,
        example.answer,
        (),
        f"task {example.task}",
        example.supports,
    )


def sample_clozes(stories: int, seed: int) -> list[Cloze]:
    """Write small stories, whose every second question is a cloze."""
    clozes = [as_cloze(one) for one in sample_stories(stories, seed)]
    return [
        Cloze(one.document, f"{subject_of(one)} is in the {PLACEHOLDER}.", one.answer, (), "cloze")
        if place % 2
        else one
        for place, one in enumerate(clozes)
    ]


def subject_of(one: Cloze) -> str:
    """Return what a question of the sample asks about: ``Where is the lamp?`` is about the lamp."""
    return one.question.removeprefix("Where is ").removesuffix("?")
