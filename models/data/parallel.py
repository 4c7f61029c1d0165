"""Sentence pairs to translate: Multi30k, Tatoeba, a made-up language, or a user's own files.

Texts stay as they are: case, punctuation and accents are part of what is learnt. Only blanks are made single.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from models.data.fetch import dataset_folder
from models.data.sample_pairs import sample_pairs

HELD_OUT = 50
"""One in so many pairs is for validation where the data has no such part; of Tatoeba as many for a test."""


class Pair(NamedTuple):
    """A sentence and its translation."""

    source: str
    target: str


@dataclass(frozen=True)
class ParallelText:
    """Which pairs to learn from.

    ``source`` is ``multi30k``, ``tatoeba``, ``sample``, or files: a TSV (``pairs.tsv``: sentence, tab,
    translation), or two files with one sentence a line (``text.en,text.fr``). ``valid`` are such files for
    validation; without them one in fifty sentences is held out. ``languages`` is from which to which:
    ``en-de`` and ``en-fr`` (or the other way round) of Multi30k, ``en-fr`` of Tatoeba; for own files it only
    names them. ``pairs`` keeps that many training pairs, drawn at random (0 = all).
    """

    source: str = "multi30k"
    valid: str = ""
    languages: str = "en-fr"
    pairs: int = 0

    def __post_init__(self) -> None:
        """Refuse languages that the data does not have."""
        both = self.languages.split("-")
        if len(both) != 2 or not all(both) or both[0] == both[1]:
            raise ValueError(f"languages are two that differ, such as en-fr, not {self.languages!r}")
        offered = OFFERED.get(self.source)
        if offered is not None and not (set(both) <= set(offered) and "en" in both):
            raise ValueError(
                f"{self.source} has English and {', '.join(offered[1:])}, not {self.languages!r}: "
                f"--tasks en-{offered[1]}"
            )
        if offered is not None and self.valid:
            raise ValueError(
                f"{self.source!r} brings its own validation pairs; --valid goes with --data FILE"
            )

    @property
    def both(self) -> tuple[str, str]:
        """The language that is translated, and the one it is translated into."""
        first, _, second = self.languages.partition("-")
        return first, second

    def plain(self) -> dict[str, Any]:
        """Return the fields that are set as plain values, for the provenance of a checkpoint."""
        return {name: value for name, value in vars(self).items() if value}


OFFERED = {"multi30k": ("en", "de", "fr"), "tatoeba": ("en", "fr"), "sample": ("en", "art")}
"""The languages of each data set that has a name."""


@dataclass(frozen=True)
class Pairs:
    """Training and validation pairs, and the data records for a manifest."""

    train: list[Pair]
    valid: list[Pair]
    records: tuple[dict[str, str], ...]


RECORDS = {
    "multi30k": {
        "name": "Multi30k, task 1, raw",
        "licence": "none stated; images and text for researchers and educators, non-commercial",
        "source": "https://github.com/multi30k/dataset",
    },
    "tatoeba": {
        "name": "Tatoeba English-French, 2017-09-29",
        "licence": "CC BY 2.0, tatoeba.org and manythings.org/anki",
        "source": "https://www.manythings.org/anki/",
    },
    "sample": {
        "name": "Engram sample pairs",
        "licence": "Apache-2.0",
        "source": "models.data.sample_pairs",
    },
}


def load_pairs(selection: ParallelText, seed: int) -> Pairs:
    """Read (and for Multi30k fetch, where needed) the chosen pairs.

    Raises:
        OSError: a file is missing or could not be fetched.
        ValueError: the data is not of the right form.
    """
    train, valid = _both_parts(selection, seed)
    if not train or not valid:
        raise ValueError(f"{selection.source} gives {len(train)} training and {len(valid)} validation pairs")
    if 0 < selection.pairs < len(train):
        chosen = np.random.default_rng(seed).permutation(len(train))[: selection.pairs]
        train = [train[place] for place in sorted(chosen)]
    name = Path(selection.source.partition(",")[0]).name
    own = {"name": name, "licence": "not stated", "source": "own data"}
    return Pairs(train, valid, (RECORDS.get(selection.source, own),))


def held_out_pairs(selection: ParallelText, split: str, seed: int) -> list[Pair]:
    """Read pairs that were not trained on.

    Args:
        selection: what was trained on, or other data.
        split: ``test`` or ``valid``; own files have no test part: the validation pairs then, and a file that
            was not trained on (``seed`` below 0) whole.
        seed: the seed of the training run, which decides what was held out of own files.

    Raises:
        OSError: a file is missing or could not be fetched.
        ValueError: the data is not of the right form.
    """
    match selection.source, split:
        case "multi30k", _:
            return _multi30k(selection, "test_2016_flickr" if split == "test" else "val")
        case "tatoeba", _:
            return _tatoeba(selection, split)
        case "sample", _:
            return _sample(selection, 200, 20_001)
        case _ if seed < 0:
            return _own(selection.source)
        case _:
            return _both_parts(selection, seed)[1]


def _both_parts(selection: ParallelText, seed: int) -> tuple[list[Pair], list[Pair]]:
    match selection.source:
        case "multi30k":
            return _multi30k(selection, "train"), _multi30k(selection, "val")
        case "tatoeba":
            return _tatoeba(selection, "train"), _tatoeba(selection, "valid")
        case "sample":
            return _sample(selection, 4000, seed), _sample(selection, 200, 10_001)
    pairs = _own(selection.source)
    if selection.valid:
        return pairs, _own(selection.valid)
    part = [_bucket(pair.source) == 0 for pair in pairs]
    return (
        [pair for pair, held in zip(pairs, part, strict=True) if not held],
        [pair for pair, held in zip(pairs, part, strict=True) if held],
    )


def _multi30k(selection: ParallelText, part: str) -> list[Pair]:
    folder = dataset_folder("multi30k") / "raw"
    return _aligned(*(folder / f"{part}.{language}" for language in selection.both))


def _tatoeba(selection: ParallelText, split: str) -> list[Pair]:
    """Split by English sentence: all translations of one are in the same part."""
    lines = _lines(dataset_folder("tatoeba-eng-fra") / "eng-fra.txt")
    pairs = _from_tsv(lines, "eng-fra.txt")
    parts = {"valid": (0,), "test": (1,)}.get(split, range(2, HELD_OUT))
    chosen = [pair for pair in pairs if _bucket(pair.source) in parts]
    return chosen if selection.both[0] == "en" else [Pair(pair.target, pair.source) for pair in chosen]


def _sample(selection: ParallelText, count: int, seed: int) -> list[Pair]:
    pairs = [Pair(*pair) for pair in sample_pairs(count, seed)]
    return pairs if selection.both[0] == "en" else [Pair(pair.target, pair.source) for pair in pairs]


def _bucket(sentence: str) -> int:
    """Return which of ``HELD_OUT`` parts a sentence belongs to, whatever its case and punctuation."""
    plain = "".join(letter for letter in sentence.casefold() if letter.isalnum())
    return int.from_bytes(hashlib.sha256(plain.encode()).digest()[:4]) % HELD_OUT


def _own(source: str) -> list[Pair]:
    first, comma, second = source.partition(",")
    if comma:
        return _aligned(Path(first.strip()), Path(second.strip()))
    return _from_tsv(_lines(Path(source)), Path(source).name)


def _from_tsv(lines: Iterable[str], name: str) -> list[Pair]:
    pairs = []
    for number, line in enumerate(lines, start=1):
        columns = line.split("\t")
        if len(columns) < 2 or not columns[0].strip() or not columns[1].strip():
            raise ValueError(f"{name}, line {number}: expected a sentence, a tab and its translation")
        pairs.append(Pair(_single_blanks(columns[0]), _single_blanks(columns[1])))
    return pairs


def _aligned(first: Path, second: Path) -> list[Pair]:
    sources, targets = _lines(first), _lines(second)
    if len(sources) != len(targets):
        raise ValueError(
            f"{first.name} has {len(sources)} lines, {second.name} has {len(targets)}: line i of one is the "
            "translation of line i of the other"
        )
    pairs = (
        Pair(_single_blanks(one), _single_blanks(two)) for one, two in zip(sources, targets, strict=True)
    )
    return [pair for pair in pairs if pair.source and pair.target]


def _single_blanks(text: str) -> str:
    return " ".join(text.split())


def _lines(path: Path) -> list[str]:
    """Read a text file, plain or with ``.gz``.

    Raises:
        FileNotFoundError: there is neither.
    """
    packed = path.with_name(path.name + ".gz")
    if path.is_file() and path.suffix != ".gz":
        text = path.read_text(encoding="utf-8")
    elif path.is_file() or packed.is_file():
        with gzip.open(path if path.is_file() else packed, "rt", encoding="utf-8") as stream:
            text = stream.read()
    else:
        raise FileNotFoundError(f"there is no file {path}")
    return text.removesuffix("\n").split("\n")
