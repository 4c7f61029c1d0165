"""Running text for language models: WikiText-2, the Penn Treebank, the project's own stories, any plain text.

A corpus is words in order and the way they were cut; ``<eos>`` stands for every end of a line.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from models.data.fetch import dataset_folder
from models.data.running_text import END_OF_LINE, Style, cut
from models.data.sample import sample_stories

Split = Literal["train", "valid", "test"]

VALIDATION_SHARE = 0.1
"""The part at the end of a user's file that is held out where no validation file is given."""


@dataclass(frozen=True)
class Published:
    """A published corpus: its files below a data folder, the way it is cut, and its record."""

    folder: str
    files: str
    style: Style
    record: dict[str, str]

    def path(self, split: Split) -> Path:
        """Return where a part of it lies, fetched where that is possible.

        Raises:
            OSError: it is not there.
        """
        folder = dataset_folder(self.folder)
        plain = folder / self.files.format(split)
        packed = plain.with_name(plain.name + ".gz")
        if not plain.exists() and not packed.exists():
            raise FileNotFoundError(f"{folder} has neither {plain.name} nor {packed.name}")
        return packed if packed.exists() else plain


PUBLISHED: dict[str, Published] = {
    "wikitext-2": Published(
        "wikitext-2",
        "{}.txt",
        "wikitext",
        {
            "name": "WikiText-2",
            "licence": "CC BY-SA 3.0, Wikipedia's authors",
            "source": "Merity, Xiong, Bradbury, Socher 2016, arXiv 1609.07843",
        },
    ),
    "ptb": Published(
        "ptb",
        "ptb.{}.txt",
        "ptb",
        {
            "name": "Penn Treebank, as preprocessed by Mikolov et al. 2010",
            "licence": "Linguistic Data Consortium: research use, no redistribution",
            "source": "https://catalog.ldc.upenn.edu/LDC99T42",
        },
    ),
}

SAMPLE_RECORD = {"name": "Engram sample stories", "licence": "Apache-2.0", "source": "models.data.sample"}


@dataclass(frozen=True)
class TextSelection:
    """Which text to learn from.

    ``source`` is ``wikitext-2``, ``ptb``, ``sample`` or a file of plain text; ``valid`` is a validation file
    of one's own (otherwise the last tenth of the lines is held out). ``at_least`` is how often a word must
    be seen to be known; rarer ones are read as the unknown word. The published corpora have seen to that
    themselves.
    """

    source: str = "wikitext-2"
    valid: str = ""
    at_least: int = 1

    def __post_init__(self) -> None:
        """Refuse a validation file beside data that brings its own."""
        if self.valid and (self.source in PUBLISHED or self.source == "sample"):
            raise ValueError(f"{self.source!r} brings its own validation text; --valid goes with --data FILE")
        if self.at_least < 1:
            raise ValueError(f"at_least must be at least 1, got {self.at_least}")

    def plain(self) -> dict[str, Any]:
        """Return the fields that are set, for the provenance of a checkpoint."""
        return {name: value for name, value in vars(self).items() if value}


@dataclass(frozen=True)
class Corpus:
    """Training and validation words in order, how they were cut, and the record for a manifest."""

    train: list[str]
    valid: list[str]
    style: Style
    record: dict[str, str]


def load_corpus(selection: TextSelection, seed: int) -> Corpus:
    """Read the chosen text.

    Raises:
        OSError: a file is missing or could not be fetched.
        ValueError: it is not text, or too short to hold some of it out.
    """
    published = PUBLISHED.get(selection.source)
    if published:
        train, valid = (list(read_words(published.path(split))) for split in ("train", "valid"))
        return Corpus(train, valid, published.style, published.record)
    if selection.source == "sample":
        words = sample_words(400, seed)
        kept = round(len(words) * (1 - VALIDATION_SHARE))
        return Corpus(words[:kept], words[kept:], "wikitext", SAMPLE_RECORD)
    path = Path(selection.source)
    lines = _lines(path)
    held_out = lines[round(len(lines) * (1 - VALIDATION_SHARE)) :]
    if selection.valid:
        held_out = _lines(Path(selection.valid))
    else:
        lines = lines[: len(lines) - len(held_out)]
    if not lines or not held_out:
        raise ValueError(f"{path.name} has too few lines to hold some out: give --valid another file")
    record = {"name": path.name, "licence": "not stated", "source": "own data"}
    return Corpus(_cut_lines(lines), _cut_lines(held_out), "wikitext", record)


def held_out_words(source: str, split: Literal["valid", "test"]) -> list[str]:
    """Read words that were held out: a published part, fresh sample stories, or a whole file.

    Raises:
        OSError: a file is missing or could not be fetched.
        ValueError: it is not text.
    """
    if source in PUBLISHED:
        return list(read_words(PUBLISHED[source].path(split)))
    if source == "sample":
        return sample_words(60, seed=20_001)
    return _cut_lines(_lines(Path(source)))


def read_words(path: Path) -> Iterator[str]:
    """Yield the words of a published file, which blanks separate, and ``<eos>`` after each line.

    Raises:
        ValueError: it is not UTF-8 text.
    """
    for line in _lines(path):
        yield from line.split()
        yield END_OF_LINE


def sample_words(stories: int, seed: int) -> list[str]:
    """Return stories that the project writes itself, a line each: the names in them come back."""
    seen = dict.fromkeys(" ".join(example.story) for example in sample_stories(stories, seed))
    return _cut_lines(list(seen))


def _cut_lines(lines: list[str]) -> list[str]:
    return cut("".join(f"{line}\n" for line in lines), "wikitext")


def _lines(path: Path) -> list[str]:
    """Read lines; only a line feed ends one, whatever else Unicode has for that."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", newline="\n") as stream:
        try:
            text = str(stream.read())
        except UnicodeDecodeError as error:
            raise ValueError(f"{path.name} is not UTF-8 text") from error
    return text.removesuffix("\n").split("\n") if text else []
