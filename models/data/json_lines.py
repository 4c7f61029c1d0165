"""A user's own stories: one JSON object a line, as ``docs/training.md`` describes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from models.data.stories import Example
from server.contract.text import Vocabulary


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the file; the fields are those of ``Example``."""

    story: list[str]
    question: str
    answer: str
    supports: list[int] = []
    task: Annotated[str, msgspec.Meta(min_length=1)] = "stories"


def read_jsonl(path: Path) -> list[Example]:
    """Read one example a line: ``{"story": [...], "question": ..., "answer": ..., "supports": [0, 2]}``.

    ``supports`` (indices from 0) and ``task`` are optional.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is not of this form; the message gives its number.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    decoder, cutter = msgspec.json.Decoder(Line), Vocabulary.from_words(())
    examples = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                examples.append(_example(decoder.decode(line), cutter))
            except ValueError as error:  # msgspec's errors are ValueErrors
                raise ValueError(f"{path.name}, line {number}: {error}") from error
    if not examples:
        raise ValueError(f"{path.name} holds no examples")
    return examples


def _example(line: Line, cutter: Vocabulary) -> Example:
    for field, text in (
        *((f"story[{i}]", fact) for i, fact in enumerate(line.story)),
        ("question", line.question),
    ):
        if not cutter.split(text):
            raise ValueError(f"{field} has no words: {text!r}")
    return Example(tuple(line.story), line.question, line.answer, tuple(line.supports), line.task)
