"""Measuring language models: perplexity over the full vocabulary, of all words and of words by frequency.

The held-out text is read once from its beginning to its end, each request going on from the state of the one
before, and asked of each word how probable it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from export.served import Served
from models.completion import ids_of
from models.data.language import held_out_words
from models.language_learning import held_out, perplexity_rows
from models.learning import DataChoice, ResultTable
from server.tasks.completion_form import CompleteAnswer, CompleteRequest

WORDS_A_REQUEST = 1_000


def measure_completion(
    served: Served, choice: DataChoice, progress: Callable[[int, int], Any]
) -> ResultTable:
    """Ask for the probability of every held-out word.

    Raises:
        OSError: a file is missing.
        ValueError: there is nothing to measure the bundle on, or its tokenizer cuts the text otherwise.
    """
    bundle = served.bundle
    assert bundle.vocabulary is not None
    source, split = held_out(bundle.manifest.training, choice)
    words = held_out_words(source, split)
    most = min(WORDS_A_REQUEST, bundle.manifest.limits["max_text_words"])
    losses: list[float] = []
    state: str | None = None
    for start in range(0, len(words), most):
        piece = words[start : start + most]
        request = CompleteRequest(text="", then=" ".join(piece), state=state, attention="none", top_k=0)
        answer = _answer(served, request)
        if len(answer.words) != len(piece):
            raise ValueError(f"the tokenizer cuts {len(piece)} words of {source} into {len(answer.words)}")
        losses += [-math.log(word.probability) for word in answer.words]
        state = answer.state
        progress(len(losses), len(words))
    rows = perplexity_rows({"perplexity": losses}, ids_of(words, bundle.vocabulary.words))
    return ResultTable(f"{source} {split}", rows, measured_by=served.measured_by)


def _answer(served: Served, request: CompleteRequest) -> CompleteAnswer:
    (answer,) = served.answers([request])
    if isinstance(answer, Exception):
        raise answer
    assert isinstance(answer, CompleteAnswer)
    return answer
