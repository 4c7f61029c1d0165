"""Golden probes of the task ``translate``: one word, and plain sentences of several lengths."""

from __future__ import annotations

from server.contract.bundle import Bundle
from server.contract.tensors import Arrays
from server.tasks.translating import Translating
from server.tasks.translating_form import TranslateRequest

TEXTS = (
    "Boats",
    "An old sailor sees the tower.",
    "Does the baker hear three quiet horses?",
    "A woman with a violin crosses the bridge while the rain falls on the river.",
    "The tall man in the green coat reads a map, and his daughter counts the birds on the roof.",
)
"""Few and short, because each carries what the encoder makes of it and the chances of a whole vocabulary."""


def probes(bundle: Bundle) -> list[Arrays]:
    """Prepare the texts that the model takes as the server does."""
    task, limit = Translating(), bundle.manifest.limits["max_pieces"]
    assert bundle.subwords is not None
    fitting = [text for text in TEXTS if len(bundle.subwords.ids(text)) <= limit] or [TEXTS[0][0]]
    parts = task.parts(TranslateRequest(texts=fitting, split="none"), bundle)
    return [task.prepare(part, bundle).arrays for part in parts]
