"""Golden probes: requests that the project makes up, one module for each task.

A module's ``probes`` returns the requests as the task prepares them: of several sizes, the smallest and a
large one among them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from export.probes import completion, computing, pointing, question_answering, reading, translating
from server.contract.bundle import Bundle
from server.contract.tensors import Arrays

PROBES: dict[str, Callable[[Bundle], Sequence[Arrays]]] = {
    "qa": question_answering.probes,
    "read": reading.probes,
    "complete": completion.probes,
    "point": pointing.probes,
    "compute": computing.probes,
    "translate": translating.probes,
}
"""How the probes of a task are made."""
