"""Golden probes: stories that the project makes up in the model's own words, with what eager torch answers.

They lie in the bundle, and a server replays them on the device it really got before it answers anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import cycle

import numpy as np

from export.wrappers import EagerSession, Graph
from server.contract.bundle import Bundle, Probes
from server.contract.tensors import Arrays, join
from server.contract.text import Vocabulary
from server.tasks import TASKS
from server.tasks.question_answering import QaRequest

SLOTS: Mapping[str, tuple[str, ...]] = {
    "person": ("Ada", "Mary", "Ben", "John", "Cleo", "Sandra"),
    "place": ("attic", "kitchen", "harbour", "garden", "market", "office"),
    "thing": ("lamp", "apple", "map", "milk", "violin", "football"),
}
SLOT = re.compile(r"\{(\w+)\}")
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


def golden_probes(graph: Graph, bundle: Bundle, tolerance: float) -> Probes:
    """Make the probes of a bundle's task and answer each alone by eager torch.

    Args:
        graph: the network as a graph.
        bundle: the bundle in the making; its manifest and vocabulary are used.
        tolerance: the largest absolute difference a replay may show.
    """
    inputs = tuple(PROBES[bundle.manifest.task](bundle))
    session = EagerSession(graph)
    outputs: list[Arrays] = []
    for probe in inputs:
        batch = session.run(join(graph.signature.inputs, [probe]), graph.outputs)
        outputs.append({name: array[0] for name, array in batch.items()})
    return Probes(inputs, tuple(outputs), tolerance)


def question_probes(bundle: Bundle) -> list[Arrays]:
    """Write stories of several lengths with a question each, and prepare them as the server does."""
    assert bundle.vocabulary is not None
    task, limits = TASKS["qa"](), bundle.manifest.limits
    rng = np.random.default_rng(0)
    facts = _sentences(FACTS, bundle.vocabulary, rng, limits["max_words"])
    questions = _sentences(QUESTIONS, bundle.vocabulary, rng, limits["max_question_words"])
    lengths = dict.fromkeys(min(length, limits["max_facts"]) for length in LENGTHS)
    requests = [
        QaRequest(story=[facts() for _ in range(length)], question=questions(), unknown_words="map")
        for length in lengths
    ]
    return [task.prepare(request, bundle).arrays for request in requests]


PROBES: dict[str, Callable[[Bundle], list[Arrays]]] = {"qa": question_probes}
"""How the probes of a task are made."""


def _sentences(
    forms: tuple[str, ...], vocabulary: Vocabulary, rng: np.random.Generator, max_words: int
) -> Callable[[], str]:
    """Return a writer of sentences in known words; where no form fits, it strings such words together."""
    slots = {
        slot: known
        for slot, words in SLOTS.items()
        if (known := [word for word in words if not vocabulary.unknown(word)])
    }

    def write(form: str) -> str:
        names = {slot: cycle(rng.permutation(words)) for slot, words in slots.items()}
        return SLOT.sub(lambda slot: str(next(names[slot[1]])), form)

    def fits(form: str) -> bool:
        return (
            slots.keys() >= set(SLOT.findall(form))
            and not vocabulary.unknown(write(form))
            and len(vocabulary.split(write(form))) <= max_words
        )

    if fitting := [form for form in forms if fits(form)]:
        return lambda: write(str(rng.choice(fitting)))
    longest = min(8, max_words)
    return lambda: " ".join(rng.choice(vocabulary.words, size=rng.integers(1, longest, endpoint=True)))
