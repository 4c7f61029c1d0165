"""Measuring a bundle the way it is served: the server's task, the exported graph, padded batches.

This is the number that counts: nothing of the network's own code takes part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.parity import largest_distance
from models.data.stories import Example
from models.evaluation import TaskRow, tabulate
from server.contract.bundle import Bundle
from server.contract.tensors import Array, Arrays, join, sizes_of, split
from server.runtime.session import Session
from server.tasks import TASKS, Task
from server.tasks.question_answering import QaAnswer, QaRequest

BATCH = 32


class SideBySide:
    """A session that also asks eager torch, and keeps the largest difference of each output."""

    def __init__(self, session: Session, reference: Session) -> None:
        self.runtime = session.runtime
        self.device = session.device
        self.differences: dict[str, float] = {}
        self._session = session
        self._reference = reference

    def run(self, inputs: Arrays, outputs: Sequence[str]) -> dict[str, Array]:
        """Run a batch on both and return what the session found."""
        found, expected = self._session.run(inputs, outputs), self._reference.run(inputs, outputs)
        for name in outputs:
            distance, _ = largest_distance(found[name], expected[name])
            self.differences[name] = max(distance, self.differences.get(name, 0.0))
        return found

    def close(self) -> None:
        """Close both."""
        self._session.close()
        self._reference.close()


def evaluate_bundle(
    bundle: Bundle,
    session: Session,
    examples: Sequence[Example],
    progress: Callable[[int], Any] = lambda done: None,
) -> list[TaskRow]:
    """Ask every question through the server's task and count by task.

    A fact counts as looked at by the largest weight that the answer's attention gives it over the hops.

    Args:
        bundle: a bundle whose task is ``qa``.
        session: a session on it.
        examples: questions about stories; a story beyond the model's limit loses its oldest facts, an unknown
            word is read as the unknown token.
        progress: told the number of questions answered so far.
    """
    if bundle.manifest.task != "qa":
        raise ValueError(f"task {bundle.manifest.task!r} has no evaluation, only qa has")
    task = TASKS["qa"]()
    wrong = [True] * len(examples)
    weights_KF: list[NDArray[np.float32]] = [np.zeros((0, 0), np.float32)] * len(examples)
    by_length = sorted(range(len(examples)), key=lambda index: len(examples[index].story))
    for start in range(0, len(examples), BATCH):
        chosen = by_length[start : start + BATCH]
        answers = _answer(task, bundle, session, [examples[index] for index in chosen])
        for index, answer in zip(chosen, answers, strict=True):
            wrong[index] = answer.answer != examples[index].answer
            weights_KF[index] = _weights(answer)
        progress(start + len(chosen))
    return tabulate(examples, wrong, weights_KF)


def _answer(task: Task, bundle: Bundle, session: Session, examples: Sequence[Example]) -> list[QaAnswer]:
    """Answer one batch: prepare, run, interpret."""
    inputs, outputs = bundle.manifest.signature.inputs, bundle.manifest.signature.outputs
    prepared = [
        task.prepare(QaRequest(list(one.story), one.question, truncate="oldest", unknown_words="map"), bundle)
        for one in examples
    ]
    arrays = [one.arrays for one in prepared]
    batch = session.run(join(inputs, arrays), prepared[0].outputs)
    results = split(outputs, batch, [sizes_of(inputs, one) for one in arrays])
    return [task.interpret(result, one, bundle) for result, one in zip(results, prepared, strict=True)]


def _weights(answer: QaAnswer) -> NDArray[np.float32]:
    """Return the attention over the whole story; facts that were left out have no weight."""
    attention = answer.attention
    assert attention is not None
    weights_KF = np.asarray(attention.weights, dtype=np.float32)
    return np.pad(weights_KF, ((0, 0), (attention.offset, 0)))
