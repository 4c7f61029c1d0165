"""The twenty bAbI tasks (Weston et al. 2015, arXiv 1502.05698): release v1.2, English, 10,000 questions each.

The published split ``en-valid-10k`` (whole stories held out for validation) is used as it is. Where its
training file of task 3 is missing, generated stories in the release's wording stand in, and ``Babi.notes``
says so.
"""

from __future__ import annotations

import gzip
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from models.data.stories import Example

TASKS: dict[int, str] = {
    1: "single supporting fact",
    2: "two supporting facts",
    3: "three supporting facts",
    4: "two argument relations",
    5: "three argument relations",
    6: "yes/no questions",
    7: "counting",
    8: "lists and sets",
    9: "simple negation",
    10: "indefinite knowledge",
    11: "basic coreference",
    12: "conjunction",
    13: "compound coreference",
    14: "time reasoning",
    15: "basic deduction",
    16: "basic induction",
    17: "positional reasoning",
    18: "size reasoning",
    19: "path finding",
    20: "agents' motivations",
}
STAND_IN_NOTE = (
    "Task 3 was trained on 10,000 generated stand-in questions in the release's wording and the genuine "
    "questions of the 1,000-question set, because the genuine 10,000-question training file was not at hand; "
    "its validation and test questions are genuine."
)
GENUINE_COPIES = 12
"""Renamed copies of each genuine question of task 3, which then weigh about as much as the stand-in."""

Split = Literal["train", "valid", "test"]


@dataclass(frozen=True)
class Babi:
    """The examples of the chosen tasks, by split, with what has to be said about them."""

    train: list[Example]
    valid: list[Example]
    notes: tuple[str, ...]


def load_babi(folder: Path, tasks: Sequence[int]) -> Babi:
    """Read training and validation examples of ``tasks`` from the folder ``babi`` of the data sets.

    Raises:
        FileNotFoundError: a file of the data set is not there.
    """
    notes: tuple[str, ...] = ()
    train: list[Example] = []
    valid: list[Example] = []
    for task in tasks:
        stand_in = folder / "supplement" / "qa3_generated_train.txt.gz"
        if task == 3 and _path(folder, task, "train") is None and stand_in.exists():
            notes = (STAND_IN_NOTE,)
            train += _stand_in(folder, stand_in)
        else:
            train += read_task(folder, task, "train")
        valid += read_task(folder, task, "valid")
    return Babi(train, valid, notes)


def _stand_in(folder: Path, path: Path) -> list[Example]:
    """Return what task 3 learns from without its training file; no validation story is among it."""
    examples = parse(_lines(path), "3")
    small = folder / "en" / "qa3_three-supporting-facts_train.txt.gz"
    if small.exists():
        held_out = {example.story[0:3] for example in read_task(folder, 3, "valid")}
        genuine = [example for example in parse(_lines(small), "3") if example.story[0:3] not in held_out]
        examples += with_renamed(genuine, GENUINE_COPIES, seed=3)
    return examples


def read_task(folder: Path, task: int, split: Split) -> list[Example]:
    """Read one split of one task.

    Raises:
        FileNotFoundError: the data set is not there.
    """
    path = _path(folder, task, split)
    if path is None:
        raise FileNotFoundError(f"bAbI task {task} has no {split} file below {folder}")
    return parse(_lines(path), str(task))


def _path(folder: Path, task: int, split: Split) -> Path | None:
    stem = folder / "en-valid-10k" / f"qa{task}_{split}.txt"
    return next((path for path in (stem, stem.with_name(stem.name + ".gz")) if path.exists()), None)


def _lines(path: Path) -> list[str]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        return [line.rstrip("\n") for line in lines]


def parse(lines: Sequence[str], task: str) -> list[Example]:
    """Parse the published format: ``ID text`` and ``ID question<TAB>answer<TAB>supporting ids``."""
    examples = []
    story: list[str] = []
    position: dict[int, int] = {}
    for line in filter(str.strip, lines):
        number, text = line.split(" ", 1)
        if number == "1":
            story, position = [], {}
        if "\t" in text:
            question, answer, supports = text.split("\t")
            chain = tuple(position[int(one)] for one in supports.split())
            examples.append(Example(tuple(story), question.strip(), answer.lower(), chain, task))
        else:
            position[int(number)] = len(story)
            story.append(text)
    return examples


def without_repeats(examples: Sequence[Example]) -> list[Example]:
    """Drop exact repeats (task 17 has 5,812 distinct examples among its 10,000), keeping the order."""
    return list(dict.fromkeys(examples))


Alias = tuple[str, ...]
"""The forms of one name: in the text and, where it differs, in the answer."""

_PLACES: tuple[Alias, ...] = tuple(
    (p,) for p in ("bathroom", "bedroom", "garden", "hallway", "kitchen", "office")
)
_PEOPLE: tuple[Alias, ...] = tuple((p,) for p in ("mary", "john", "sandra", "daniel"))
_FRIENDS: tuple[Alias, ...] = tuple((p,) for p in ("mary", "bill", "fred", "jeff"))
_OBJECTS: tuple[Alias, ...] = tuple((o,) for o in ("apple", "football", "milk"))

INTERCHANGEABLE: dict[str, tuple[tuple[Alias, ...], ...]] = {
    "2": (_PEOPLE, _PLACES, _OBJECTS),
    "3": (_PEOPLE, _PLACES, _OBJECTS),
    "5": (_FRIENDS, _PLACES, _OBJECTS),
    "7": (_PEOPLE, _PLACES, _OBJECTS),
    "8": (_PEOPLE, _PLACES),
    "14": (
        tuple((n,) for n in ("mary", "bill", "fred", "julie")),
        tuple((n,) for n in ("bedroom", "cinema", "kitchen", "office", "park", "school")),
    ),
    "16": (
        tuple((n,) for n in ("lily", "bernhard", "greg", "julius", "brian")),
        tuple((n,) for n in ("swan", "lion", "rhino", "frog")),
        tuple((n,) for n in ("white", "gray", "green", "yellow")),
    ),
    "17": (
        tuple(
            (n,)
            for n in (
                "triangle",
                "pink rectangle",
                "blue square",
                "red square",
                "yellow square",
                "red sphere",
            )
        ),
        (("left",), ("right",)),
        (("above",), ("below",)),
    ),
    "18": (tuple((n,) for n in ("box", "box of chocolates", "chest", "chocolate", "container", "suitcase")),),
    "19": (_PLACES, (("north", "n"), ("south", "s")), (("east", "e"), ("west", "w"))),
}
"""Per task the groups of names that may trade places in a story without changing the reasoning.

Left and right (above and below, north and south) trade places as a mirror does.
"""


def rename(example: Example, rng: np.random.Generator) -> Example:
    """Return the same story with interchangeable names permuted, in facts, question and answer alike."""
    groups = INTERCHANGEABLE.get(example.task, ())
    new_name: dict[str, str] = {}
    for group in groups:
        for old, new in zip(group, rng.permutation(len(group)), strict=True):
            new_name.update(zip(old, group[new], strict=True))
    if not new_name:
        return example
    longest_first = sorted(new_name, key=len, reverse=True)
    pattern = re.compile(r"\b(" + "|".join(map(re.escape, longest_first)) + r")\b", re.IGNORECASE)

    def renamed(text: str) -> str:
        return pattern.sub(lambda match: new_name[match.group().lower()], text)

    return Example(
        tuple(renamed(fact) for fact in example.story),
        renamed(example.question),
        renamed(example.answer),
        example.supports,
        example.task,
    )


def with_renamed(examples: Sequence[Example], copies: int, seed: int) -> list[Example]:
    """Return the distinct examples and ``copies`` renamed copies of each."""
    rng = np.random.default_rng(seed)
    distinct = without_repeats(examples)
    renamed = (rename(example, rng) for example, _ in itertools.product(distinct, range(copies)))
    return without_repeats([*distinct, *renamed])
