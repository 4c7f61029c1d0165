"""Small stories that the project writes itself: people walk and take things; where are they?

For tests, the tiny preset and as a pattern for one's own data. Facts and supports are right by construction.
"""

from __future__ import annotations

import numpy as np

from models.data.stories import Example

PEOPLE = ("Ada", "Ben", "Cleo", "Dan")
PLACES = ("attic", "cellar", "harbour", "library", "market")
THINGS = ("lamp", "map", "violin")


def sample_stories(stories: int, seed: int, facts: int = 8) -> list[Example]:
    """Write ``stories`` stories of ``facts`` sentences with up to two questions each.

    "Where is Ada?" rests on her last move, "Where is the lamp?" on who took it and that person's last move.
    """
    rng = np.random.default_rng(seed)
    examples: list[Example] = []
    for _ in range(stories):
        examples += _one_story(rng, facts)
    return examples


def _one_story(rng: np.random.Generator, facts: int) -> list[Example]:
    story: list[str] = []
    place_of: dict[str, tuple[str, int]] = {}
    holder_of: dict[str, tuple[str, int]] = {}
    while len(story) < facts:
        person = str(rng.choice(PEOPLE))
        free = [thing for thing in THINGS if thing not in holder_of]
        if person in place_of and free and rng.random() < 0.35:
            thing = str(rng.choice(free))
            holder_of[thing] = (person, len(story))
            story.append(f"{person} took the {thing}.")
        else:
            place = str(rng.choice(PLACES))
            place_of[person] = (place, len(story))
            story.append(f"{person} walked to the {place}.")
    person = str(rng.choice(list(place_of)))
    place, index = place_of[person]
    examples = [Example(tuple(story), f"Where is {person}?", place, (index,), "person")]
    if holder_of:
        thing = str(rng.choice(list(holder_of)))
        holder, taken = holder_of[thing]
        place, index = place_of[holder]
        examples.append(Example(tuple(story), f"Where is the {thing}?", place, (taken, index), "thing"))
    return examples
