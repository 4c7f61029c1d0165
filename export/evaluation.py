"""Measuring a bundle the way it is served, task by task. ``MEASURES`` has one line for each task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from export.measure_completion import measure_completion
from export.measure_computing import measure_computing
from export.measure_pointing import measure_pointing
from export.measure_reading import measure_reading
from export.measure_stories import measure_stories
from export.measure_translation import measure_translation
from export.parity import largest_distance
from export.served import Served
from export.wrappers import EagerSession, Graph
from models.learning import DataChoice, Measured
from server.contract.bundle import Bundle
from server.contract.manifest import RuntimeName
from server.contract.tensors import Array, Arrays
from server.runtime.session import OpenSession, Session, open_session

Measure = Callable[[Served, DataChoice, Callable[[int, int], Any]], Measured]
"""Measures a served bundle on data that was chosen; is given what to tell how many of how many are done."""

MEASURES: Mapping[str, Measure] = {
    "qa": measure_stories,
    "read": measure_reading,
    "complete": measure_completion,
    "point": measure_pointing,
    "compute": measure_computing,
    "translate": measure_translation,
}
"""How a bundle of each task is measured."""


class SideBySide:
    """A session that also asks eager torch, and keeps the largest difference of each output."""

    def __init__(self, session: Session, reference: Session, differences: dict[str, float]) -> None:
        self.runtime = session.runtime
        self.device = session.device
        self.differences = differences
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


def beside_eager_torch(graph: Graph, differences: dict[str, float]) -> OpenSession:
    """Return what opens sessions that note in ``differences`` how far they are from eager torch."""

    def opened(bundle: Bundle, runtime: RuntimeName | None = None, device: str = "cpu") -> Session:
        return SideBySide(open_session(bundle, runtime, device), EagerSession(graph), differences)

    return opened
