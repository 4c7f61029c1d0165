"""Where examples come from: the bAbI tasks, the project's own sample stories, or a user's JSON lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from models.data import babi
from models.data.fetch import dataset_folder
from models.data.json_lines import read_jsonl
from models.data.sample import sample_stories
from models.data.stories import Example, split_by_story

VALIDATION_SHARE = 0.1
"""The part of the stories that is held out where the data has no validation part of its own."""


@dataclass(frozen=True)
class Selection:
    """Which examples to learn from.

    ``source`` is ``babi``, ``sample`` or the path of a JSON-lines file; ``valid`` a validation file of one's
    own (otherwise a tenth of the stories is held out, whole). ``tasks`` chooses bAbI tasks (empty = all
    twenty). ``renamed`` maps a task to the number of copies of each of its examples with interchangeable
    names permuted.
    """

    source: str = "babi"
    valid: str = ""
    tasks: tuple[int, ...] = ()
    renamed: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse tasks that do not exist, and options that say nothing about the chosen source."""
        wrong = [task for task in self.tasks if task not in babi.TASKS]
        if wrong:
            raise ValueError(f"bAbI has tasks 1 to 20, not {', '.join(map(str, wrong))}")
        if self.tasks and self.source != "babi":
            raise ValueError(f"tasks choose among the bAbI tasks, and the data is {self.source!r}")
        if self.valid and self.source in ("babi", "sample"):
            raise ValueError(
                f"{self.source!r} brings its own validation stories; --valid goes with --data FILE"
            )
        unknown = self.renamed.keys() - babi.INTERCHANGEABLE.keys()
        if unknown:
            raise ValueError(
                f"renamed: names are interchangeable in tasks {', '.join(babi.INTERCHANGEABLE)}, "
                f"not in {', '.join(sorted(unknown))}"
            )

    def plain(self) -> dict[str, Any]:
        """Return the fields that are set as plain values, for the provenance of a checkpoint."""
        return {name: value for name, value in vars(self).items() if value}


@dataclass(frozen=True)
class Examples:
    """Training and validation examples, the data records for a manifest, and what to say about them."""

    train: list[Example]
    valid: list[Example]
    records: tuple[dict[str, str], ...]
    notes: tuple[str, ...] = ()


BABI_RECORD = {
    "name": "bAbI tasks 1-20, v1.2, en-valid-10k",
    "licence": "CC BY 3.0, (c) Facebook, Inc.",
    "source": "https://research.facebook.com/downloads/babi/",
}
SAMPLE_RECORD = {"name": "Engram sample stories", "licence": "Apache-2.0", "source": "models.data.sample"}


def load_examples(selection: Selection, seed: int) -> Examples:
    """Read (and for bAbI fetch, where needed) the chosen examples.

    Raises:
        OSError: a file is missing or could not be fetched.
        ValueError: the data is not of the right form.
    """
    if selection.source == "babi":
        return _babi(selection, seed)
    if selection.source == "sample":
        train, valid = split_by_story(sample_stories(1500, seed=seed), share=VALIDATION_SHARE, seed=seed)
        return Examples(train, valid, (SAMPLE_RECORD,))
    path = Path(selection.source)
    train = read_jsonl(path)
    if selection.valid:
        valid = read_jsonl(Path(selection.valid))
    else:
        train, valid = split_by_story(train, share=VALIDATION_SHARE, seed=seed)
    return Examples(train, valid, ({"name": path.name, "licence": "not stated", "source": "own data"},))


def _babi(selection: Selection, seed: int) -> Examples:
    loaded = babi.load_babi(dataset_folder("babi"), selection.tasks or tuple(babi.TASKS))
    train: list[Example] = []
    copied: list[str] = []
    for task in dict.fromkeys(example.task for example in loaded.train):
        own = [example for example in loaded.train if example.task == task]
        copies = selection.renamed.get(task, 0)
        train += babi.with_renamed(own, copies, seed) if copies else own
        copied += [f"{task} (x{copies})"] if copies else []
    notes = loaded.notes
    if copied:
        named = ", ".join(copied)
        notes += (f"Training stories were copied with interchangeable names permuted, for tasks {named}.",)
    record = BABI_RECORD | ({"note": loaded.notes[0]} if loaded.notes else {})
    return Examples(train, loaded.valid, (record,), notes)


def held_out_examples(source: str, tasks: Sequence[int], split: Literal["valid", "test"]) -> list[Example]:
    """Read held-out examples: bAbI test (or validation) questions, fresh sample stories, or a whole file.

    Raises:
        OSError: a file is missing or could not be fetched.
        ValueError: the data is not of the right form.
    """
    if source == "babi":
        folder = dataset_folder("babi")
        return [one for task in tasks or babi.TASKS for one in babi.read_task(folder, task, split)]
    if source == "sample":
        return sample_stories(500, seed=20_001)
    return read_jsonl(Path(source))
