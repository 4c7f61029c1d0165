"""Golden probes of the task ``qa``: stories of several lengths with a question each."""

from __future__ import annotations

import numpy as np

from export.probes.sentences import sentences
from server.contract.bundle import Bundle
from server.contract.tensors import Arrays
from server.tasks import TASKS
from server.tasks.question_answering import QaRequest

FACTS = (
    "{person} took the {thing} to the {place}.",
    "{person} walked to the {place}.",
    "The {thing} is in the {place} and not in the {place}.",
    "{person} went back to {person} and gave the {thing} to {person}.",
    "The {place} is north of the {place} and the {place} is west of the {place}.",
)
QUESTIONS = (
    "Where is the {thing} {person} took?",
    "Is {person} in the {place} with the {thing}?",
    "What is north of the {place} and west of the {place}?",
)
LENGTHS = (1, 2, 3, 5, 8, 13, 64)
"""Facts of the stories; a model that takes fewer gets as many as it takes."""


def probes(bundle: Bundle) -> list[Arrays]:
    """Write stories of several lengths with a question each, and prepare them as the server does."""
    assert bundle.vocabulary is not None
    task, limits = TASKS["qa"](), bundle.manifest.limits
    rng = np.random.default_rng(0)
    facts = sentences(FACTS, bundle.vocabulary, rng, limits["max_words"])
    questions = sentences(QUESTIONS, bundle.vocabulary, rng, limits["max_question_words"])
    lengths = dict.fromkeys(min(length, limits["max_facts"]) for length in LENGTHS)
    requests = [
        QaRequest(story=[facts() for _ in range(length)], question=questions(), unknown_words="map")
        for length in lengths
    ]
    return [task.prepare(request, bundle).arrays for request in requests]
