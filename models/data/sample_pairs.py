"""A small made-up language with its English: sentence pairs for tests and the tiny preset.

The language (``art``, the ISO 639-2 code of artificial ones) says the verb last and the adjective after its
noun, marks the plural and what is acted on with endings, and asks with a particle in front. So a translation
needs other words, another order and endings that depend on words elsewhere.
"""

from __future__ import annotations

import numpy as np

NOUNS = {
    "baker": "morin",
    "dog": "kalu",
    "horse": "tevan",
    "lantern": "osil",
    "river": "dura",
    "sailor": "pelok",
    "tower": "ganti",
    "violin": "semar",
}
ADJECTIVES = {"old": "vek", "red": "rusa", "small": "tip", "quiet": "lune", "tall": "harg"}
VERBS = {"see": "mira", "follow": "sekut", "paint": "kolor", "hear": "sonda"}
NUMBERS = {"two": "du", "three": "tri"}


def sample_pairs(count: int, seed: int) -> list[tuple[str, str]]:
    """Write ``count`` English sentences with their translations; some come more than once."""
    rng = np.random.default_rng(seed)
    return [_sentence(rng) for _ in range(count)]


def _sentence(rng: np.random.Generator) -> tuple[str, str]:
    (doer, doer_art, plural), (thing, thing_art, _) = _phrase(rng), _phrase(rng)
    verb = str(rng.choice(list(VERBS)))
    if rng.random() < 0.25:
        english = f"{'Do' if plural else 'Does'} {doer} {verb} {thing}?"
        words = f"ka {doer_art} {thing_art}n {VERBS[verb]}?"
    else:
        english = f"{doer} {verb}{'' if plural else 's'} {thing}."
        words = f"{doer_art} {thing_art}n {VERBS[verb]}."
    return english[0].upper() + english[1:], words[0].upper() + words[1:]


def _phrase(rng: np.random.Generator) -> tuple[str, str, bool]:
    """Return a noun with its adjective in both languages, and whether it is more than one."""
    noun, adjective = str(rng.choice(list(NOUNS))), str(rng.choice(["", *ADJECTIVES]))
    plural = rng.random() < 0.4
    number = str(rng.choice(list(NUMBERS))) if plural else "the"
    english = " ".join(word for word in (number, adjective, noun + ("s" if plural else "")) if word)
    own = [NUMBERS[number]] if plural else []
    own += [NOUNS[noun] + ("i" if plural else "")]
    own += [ADJECTIVES[adjective] + ("i" if plural else "")] if adjective else []
    return english, " ".join(own), plural
