"""Where training examples come from: the bAbI tasks, the project's own sample stories, or a user's JSON lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from models.data import babi
from models.data.fetch import dataset_folder
from models.data.sample import sample_stories
from models.data.stories import Example, read_jsonl, split_by_story


@dataclass(frozen=True)
class Selection:
    """Which examples to learn from.

    ``source`` is ``babi``, ``sample`` or the path of a JSON-lines file; ``valid`` an own validation file (otherwise a tenth
    of the stories is held out, whole). ``tasks`` chooses bAbI tasks (empty = all twenty). ``renamed`` maps a task to
    the number of copies of each of its examples with interchangeable names permuted.
    """

    source: str = "babi"
    valid: str = ""
    tasks: tuple[int, ...] = ()
    renamed: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse tasks that do not exist."""
        wrong = [task for task in self.tasks if task not in babi.TASKS]
        if wrong:
            raise ValueError(f"bAbI has tasks 1 to 20, not {', '.join(map(str, wrong))}")


@dataclass(frozen=True)
class Examples:
    """Training and validation examples, the data records for a manifest, and what has to be said about them."""

    train: list[Example]
    valid: list[Example]
    records: tuple[dict[str, str], ...]
    notes: tuple[str, ...] = ()


BABI_RECORD = {
    "name": "bAbI tasks 1-20, v1.2, en-valid-10k",
    "licence": "CC BY 3.0, (c) Facebook, Inc.",
    "source": "https://research.facebook.com/downloads/babi/",
}


def load_examples(selection: Selection, seed: int) -> Examples:
    """Read (and for bAbI fetch, where needed) the chosen examples."""
    if selection.source == "babi":
        return _babi(selection, seed)
    if selection.source == "sample":
        train, valid = split_by_story(sample_stories(1500, seed=seed), share=0.1, seed=seed)
        record = {"name": "Engram sample stories", "licence": "Apache-2.0", "source": "models.data.sample"}
        return Examples(train, valid, (record,))
    train = read_jsonl(Path(selection.source))
    if selection.valid:
        valid = read_jsonl(Path(selection.valid))
    else:
        train, valid = split_by_story(train, share=0.1, seed=seed)
    record = {"name": Path(selection.source).name, "licence": "not stated", "source": "own data"}
    return Examples(train, valid, (record,))


def _babi(selection: Selection, seed: int) -> Examples:
    loaded = babi.load_babi(dataset_folder("babi"), selection.tasks or tuple(babi.TASKS))
    notes = loaded.notes
    train: list[Example] = []
    for task in dict.fromkeys(example.task for example in loaded.train):
        own = [example for example in loaded.train if example.task == task]
        copies = selection.renamed.get(task, 0)
        train += babi.with_renamed(own, copies, seed) if copies else own
    if selection.renamed:
        named = ", ".join(f"{task} (x{copies})" for task, copies in selection.renamed.items())
        notes += (f"Training stories were copied with interchangeable names permuted, for tasks {named}.",)
    record = BABI_RECORD | ({"note": loaded.notes[0]} if loaded.notes else {})
    return Examples(train, loaded.valid, (record,), notes)


def held_out_examples(source: str, tasks: Sequence[int], split: Literal["valid", "test"]) -> list[Example]:
    """Read held-out examples: the bAbI test (or validation) questions, or all of a JSON-lines file."""
    if source == "babi":
        folder = dataset_folder("babi")
        return [one for task in tasks or babi.TASKS for one in babi.read_task(folder, task, split)]
    if source == "sample":
        return sample_stories(500, seed=20_001)
    return read_jsonl(Path(source))


def plain(record: Selection) -> dict[str, Any]:
    """Return the selection as plain values, for the provenance of a checkpoint."""
    return {name: value for name, value in vars(record).items() if value}
