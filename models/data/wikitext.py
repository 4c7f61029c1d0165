"""WikiText (Merity et al. 2016) as articles of plain text: the tokenised release, put together again."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable
from pathlib import Path

TITLE = re.compile(r"= [^=].* =")
HEADING = re.compile(r"= .* =")
JOINS = tuple(
    (re.compile(pattern), joined)
    for pattern, joined in (
        (r" @([-,.])@ ", r"\1"),  # hyphens, and the marks inside numbers
        (r" ([.,;:!?%)\]])", r"\1"),
        (r"([(\[£$€]) ", r"\1"),
        (r" (['\u2019]\w)", r"\1"),
    )
)


def read_articles(path: Path) -> list[str]:
    """Return the articles of one file of the release, a paragraph a line, without headings."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        return articles_of(lines)


def articles_of(lines: Iterable[str]) -> list[str]:
    """Cut the lines of the release into articles; a title has one ``=`` at either end, a heading more."""
    articles: list[list[str]] = [[]]
    for line in map(str.strip, lines):
        if TITLE.fullmatch(line) and not line.startswith("= ="):
            articles.append([])
        elif line and not HEADING.fullmatch(line):
            articles[-1].append(plain(line))
    return ["\n".join(paragraphs) for paragraphs in articles if paragraphs]


def plain(line: str) -> str:
    """Join what the release sets apart and print does not."""
    for pattern, joined in JOINS:
        line = pattern.sub(joined, line)
    return line
