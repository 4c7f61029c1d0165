"""Writes the traces: requests like bAbI's, made by the project itself in the words of the bAbI models.

Run it only to change the traces: the same seed gives the same bytes, and results compare only over one trace.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from random import Random

from benchmarks.traces import MIXED, TRACES, TWENTY_FACTS, Request

PEOPLE = ("Mary", "John", "Sandra", "Daniel", "Fred", "Bill", "Jeff", "Julie")
PLACES = ("kitchen", "bedroom", "office", "garden", "hallway", "bathroom", "school", "park", "cinema")
THINGS = ("apple", "football", "milk")
MOVES = ("went to", "moved to", "journeyed to", "travelled to", "went back to")
TAKES = ("took", "got", "grabbed", "picked up")
DROPS = ("dropped", "discarded", "left", "put down")

REQUESTS = 512
"""Requests of a trace: enough that a server which remembers answers gains nothing in one pass."""


def story(random: Random, facts: int) -> Request:
    """Write a story of ``facts`` sentences and a question about a person or a thing in it."""
    sentences: list[str] = []
    holder_of: dict[str, str] = {}
    while len(sentences) < facts:
        person, thing = random.choice(PEOPLE), random.choice(THINGS)
        kind = random.random()
        if not sentences or kind < 0.6:
            sentences.append(f"{person} {random.choice(MOVES)} the {random.choice(PLACES)}.")
        elif holder_of.get(thing) is None:
            holder_of[thing] = person
            sentences.append(f"{person} {random.choice(TAKES)} the {thing} there.")
        else:
            sentences.append(f"{holder_of.pop(thing)} {random.choice(DROPS)} the {thing}.")
    if holder_of and random.random() < 0.5:
        return {"story": sentences, "question": f"Where is the {random.choice(sorted(holder_of))}?"}
    person = random.choice([sentence.split()[0] for sentence in sentences])
    return {"story": sentences, "question": f"Where is {person}?"}


def trace(seed: int, facts: Callable[[Random], int]) -> list[Request]:
    """Write the requests of one trace; ``facts`` picks the length of each story."""
    random = Random(seed)  # noqa: S311 - stories, not secrets
    return [story(random, facts(random)) for _ in range(REQUESTS)]


def twenty_facts() -> list[Request]:
    """Write stories of 20 facts."""
    return trace(20, lambda _: 20)


def mixed() -> list[Request]:
    """Write stories of 5 to 70 facts, every length as likely."""
    return trace(570, lambda random: random.randint(5, 70))


def main() -> None:
    """Write both trace files."""
    argparse.ArgumentParser(prog="python -m benchmarks.stories", description=__doc__).parse_args()
    for name, requests in ((TWENTY_FACTS, twenty_facts()), (MIXED, mixed())):
        text = "".join(json.dumps(request) + "\n" for request in requests)
        (TRACES / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
