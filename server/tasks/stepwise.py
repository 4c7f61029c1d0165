"""What a task is whose answer comes step by step: the search that the server drives through a step graph.

A bundle of such a task has *stages* (``Manifest.stages``): an optional graph ``encoder``, run once for each
request, and a graph ``step``, run again and again. Names wire them up; B is the batch, an entry for each row:

* the encoder's inputs come from ``Prepared.arrays``;
* the step's output ``next_X [B, ...]`` is the input ``X`` of the following step: a *state*;
* an input of the step that the encoder makes, or that ``Prepared.arrays`` holds, is the first value of the
  state of that name, or, without such a state, the *memory*, the same at every step;
* every other input of the step comes from ``Search.feed``;
* the outputs of the step that ``Prepared.outputs`` names go to ``Search.advance``, states among them if they
  are named; what is neither named nor a state is not computed.

A row is one hypothesis. A request begins with one row and never has more than ``Prepared.rows`` of them.
Many requests share a step. Their named axes are padded with the ``pad`` of the step's inputs, so a graph
must not let padding reach a row: its memory carries a mask or lengths.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol, runtime_checkable

import msgspec

from server.contract.bundle import Bundle
from server.contract.tensors import Array
from server.tasks.base import Prepared, Task

Feed = tuple[Mapping[str, Array], Sequence[int]]
"""The next inputs by name ``[rows, ...]``, and for each row the row of the step before that it continues."""


class Search(Protocol):
    """One request's walk through the step graph: pure, with neither clock nor threads.

    The server calls ``feed``, runs the step and calls ``advance`` until ``finished``; then ``answer``.
    """

    @property
    def finished(self) -> bool:
        """Whether no further step is needed; it may be so from the start."""
        ...

    def feed(self) -> Feed:
        """Return the inputs of the next step, and which rows go on.

        The inputs are those of the step graph that are neither state nor memory, the rows of this request
        first: ``[rows, ...]``. The parents say for each row whose state it continues; before the first step
        there is row 0 alone. ``[0, 0, 2]`` forks row 0, drops row 1 and keeps row 2 as the third.
        """
        ...

    def advance(self, outputs: Mapping[str, Array]) -> Sequence[msgspec.Struct]:
        """Take what the step gave for the rows just fed, and return the events to stream, in order.

        Args:
            outputs: the step outputs that ``Prepared.outputs`` names, ``[rows, ...]``, cut to this
                request's own sizes. They may be views into a larger array: copy what is kept for long.

        Returns:
            Structs of ``StepwiseTask.events``; nothing where there is nothing to tell yet.

        Raises:
            RunError: the graph returned something that is not a number.
        """
        ...

    def answer(self) -> msgspec.Struct:
        """Return the task's answer, once finished."""
        ...


@runtime_checkable
class StepwiseTask(Task, Protocol):
    """A task whose models the server drives step by step.

    ``events`` lists the types of the events it can stream, none where it streams nothing. Each is a tagged
    struct, and its tag is the name of the event on the wire: ``class Token(msgspec.Struct, tag="token")``.
    """

    events: ClassVar[tuple[type[msgspec.Struct], ...]]

    def begin(self, encoded: Mapping[str, Array], prepared: Prepared, bundle: Bundle) -> Search:
        """Return the search for one request.

        Args:
            encoded: the encoder's outputs that are inputs of the step or named in ``prepared.outputs``,
                without the batch axis and without padding; empty where there is no encoder.
            prepared: what ``prepare`` made of the request.
            bundle: the model.
        """
        ...


def events_of(task: Task | type[Task]) -> tuple[type[msgspec.Struct], ...]:
    """Return the types of the events that a task can stream; none where it answers in one run."""
    events: tuple[type[msgspec.Struct], ...] = getattr(task, "events", ())
    return events
