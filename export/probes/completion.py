"""Golden probes of the task ``complete``: the beginnings of texts in the model's own words."""

from __future__ import annotations

import numpy as np

from export.probes.sentences import sentences
from server.contract.bundle import Bundle
from server.contract.tensors import Arrays
from server.tasks import TASKS
from server.tasks.completion_form import CompleteRequest

FORMS = (
    "{person} took the {thing} to the {place} and {person} went back to the {place} .",
    "The {thing} of {person} was in the {place} , and {person} was not .",
)
LENGTHS = (1, 13)
"""Words of the probes; few, because each carries a whole state and a whole vocabulary of probabilities."""


def probes(bundle: Bundle) -> list[Arrays]:
    """Write beginnings of texts and prepare them as the server does."""
    assert bundle.vocabulary is not None
    task, rng = TASKS["complete"](), np.random.default_rng(0)
    limit = bundle.manifest.limits["max_words"]
    write = sentences(FORMS, bundle.vocabulary, rng, limit)
    probes: list[Arrays] = []
    for length in dict.fromkeys(min(length, limit) for length in LENGTHS):
        prepared = task.prepare(CompleteRequest(text=write(), max_words=1), bundle)
        probes.append({**prepared.arrays, "words": prepared.context.ids[-length:]})
    return probes
