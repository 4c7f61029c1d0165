"""Golden probes of the task ``read``: small documents with a cloze or a plain question, one word unknown."""

from __future__ import annotations

import numpy as np

from export.probes.sentences import sentences
from server.contract.bundle import Bundle
from server.contract.tensors import Arrays
from server.tasks import TASKS
from server.tasks.passages import PLACEHOLDER
from server.tasks.reading import ReadRequest

FORMS = (
    "{person} took the {thing} to the {place}.",
    "{person} went back to the {place} with {person}.",
    "The {thing} is in the {place} and not in the {place}.",
)
STRANGER = "Zorblax"
"""A word that no vocabulary holds: it goes through a slot."""
LENGTHS = (1, 2, 5, 13, 40)
"""Sentences of the documents; a model that takes fewer words gets fewer."""


def probes(bundle: Bundle) -> list[Arrays]:
    """Write documents and prepare them as the server does."""
    assert bundle.vocabulary is not None
    task, limits = TASKS["read"](), bundle.manifest.limits
    rng = np.random.default_rng(0)
    longest = min(16, limits["max_question_tokens"] - 1, limits["max_tokens"] // 2)
    write = sentences(FORMS, bundle.vocabulary, rng, longest)
    requests = []
    for length in dict.fromkeys(min(length, limits["max_tokens"] // longest - 1) or 1 for length in LENGTHS):
        document = " ".join([*(write() for _ in range(length)), f"{STRANGER}."])
        words = bundle.vocabulary.split(document)
        some = [str(word) for word in dict.fromkeys(rng.choice(words, 3))]
        asked = write()
        requests += [
            ReadRequest(document, f"{STRANGER} {PLACEHOLDER} {' '.join(asked.split()[1:3])}", some),
            ReadRequest(document, asked),
        ]
    return [task.prepare(request, bundle).arrays for request in requests]
