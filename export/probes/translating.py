"""Golden probes of the task ``translate``: one word, plain sentences, and several of them in a row."""

from __future__ import annotations

from server.contract.bundle import Bundle
from server.contract.tensors import Arrays
from server.tasks.translating import Translating
from server.tasks.translating_form import TranslateRequest

TEXTS = (
    "Boats",
    "An old sailor sees the tower.",
    "Two children paint a red lantern.",
    "Does the baker hear three quiet horses?",
    "A woman with a violin crosses the bridge while the rain falls on the river.",
    "Three dogs run behind a small boat.",
    "The tall man in the green coat reads a map, and his daughter counts the birds on the roof.",
)
LONGER = 3
"""The last probe is so many of the texts in a row."""


def probes(bundle: Bundle) -> list[Arrays]:
    """Prepare the texts as the server does, each cut to what the model takes."""
    task, limit = Translating(), bundle.manifest.limits["max_pieces"]
    texts = (*TEXTS, " ".join(TEXTS[-LONGER:]))
    assert bundle.subwords is not None
    fitting = [text for text in texts if len(bundle.subwords.ids(text)) <= limit] or [TEXTS[0][0]]
    parts = task.parts(TranslateRequest(texts=fitting, split="none"), bundle)
    return [task.prepare(part, bundle).arrays for part in parts]
