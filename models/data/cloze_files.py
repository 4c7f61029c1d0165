"""Cloze questions in files: the published forms of CBT, CNN / Daily Mail and LAMBADA, and one's own JSON
lines.

Candidates are taken in alphabetical order, whatever order a file has: a release that puts the answer first
would otherwise give it every tie.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from models.data.cloze import Cloze
from server.tasks.passages import PLACEHOLDER

CBT_BLANK = "XXXXX"
ENTITY = re.compile(r"@entity\d+")
CLOSES = frozenset(".!?")


def read_clozes(path: Path) -> list[Cloze]:
    """Read a file or folder, whichever of the forms it has.

    A folder holds CNN / Daily Mail ``.question`` files; a name with ``lambada`` in it is LAMBADA's plain
    text; a ``.jsonl`` file holds objects with ``document``, ``question``, ``answer`` and, if wanted,
    ``candidates`` and ``group``; anything else is CBT.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not of that form; the message says where.
    """
    if path.is_dir():
        return [
            parse_cnn(file.read_text(encoding="utf-8"), path.name) for file in sorted(path.glob("*.question"))
        ]
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        if "lambada" in path.name:
            return parse_lambada(lines)
        if ".jsonl" in path.name:
            return parse_json_lines(lines, path.name)
        return parse_cbt(lines, path.name)


def parse_cbt(lines: Iterable[str], group: str) -> list[Cloze]:
    """Parse the Children's Book Test: 20 numbered sentences, then ``21 query<TAB>answer<TAB><TAB>a|b|c``."""
    questions: list[Cloze] = []
    document: list[str] = []
    for place, line in enumerate(lines, 1):
        number, _, text = line.rstrip("\n").partition(" ")
        if not text:
            document = []
        elif "\t" in text:
            query, answer, *_, candidates = text.split("\t")
            if CBT_BLANK not in query:
                raise ValueError(f"{group} line {place}: the query has no {CBT_BLANK}")
            chosen = tuple(sorted(set(candidates.split("|")) - {""}))
            question = query.replace(CBT_BLANK, PLACEHOLDER)
            questions.append(Cloze("\n".join(document), question, answer, chosen, group))
            document = []
        elif number.isdecimal():
            document.append(text)
        else:
            raise ValueError(f"{group} line {place}: expected a number and a sentence")
    return questions


def parse_cnn(text: str, group: str) -> Cloze:
    """Parse a question of CNN or Daily Mail: address, document, query, answer, entities, a blank line
    between.

    The candidates are the entities that the document holds.

    Raises:
        ValueError: it has fewer parts.
    """
    parts = text.strip().split("\n\n")
    if len(parts) < 4:
        raise ValueError(f"{group}: expected address, document, query and answer, got {len(parts)} parts")
    _, document, query, answer = (part.strip() for part in parts[:4])
    entities = {*ENTITY.findall(document), answer}
    return Cloze(document, query, answer, tuple(sorted(entities)), group)


def parse_lambada(lines: Iterable[str]) -> list[Cloze]:
    """Parse LAMBADA: a passage a line, whose last word is asked for.

    The last sentence, without that word, is the question; what comes before it the document. Passages without
    anything before it are left out.
    """
    questions = []
    for line in lines:
        *words, answer = line.split() or [""]
        cut = last_sentence(words)
        if answer and cut:
            questions.append(
                Cloze(" ".join(words[:cut]), " ".join([*words[cut:], PLACEHOLDER]), answer, (), "lambada")
            )
    return questions


def last_sentence(words: Sequence[str]) -> int:
    """Return where the last sentence of tokenised text begins; closing quotes belong to the one before."""
    for place in range(len(words) - 1, -1, -1):
        if words[place] in CLOSES:
            start = place + 1
            while start < len(words) and words[start] == "''":
                start += 1
            return start
    return 0


def parse_json_lines(lines: Iterable[str], name: str) -> list[Cloze]:
    """Parse one's own questions, one JSON object a line.

    Raises:
        ValueError: a line is not such an object; the message names it.
    """
    return list(_objects(lines, name))


def _objects(lines: Iterable[str], name: str) -> Iterator[Cloze]:
    for place, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            question = msgspec.json.decode(line, type=Cloze)
            yield replace(question, candidates=tuple(sorted(set(question.candidates))))
        except (ValueError, msgspec.MsgspecError) as error:
            raise ValueError(f"{name} line {place}: {error}") from error
