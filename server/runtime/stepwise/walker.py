"""Walks many searches through the stages of a model: encodes newcomers, then takes one step with all of them.

A ``Walker`` knows neither clock nor threads nor the event loop. A step is one run of the step graph for all
walks of similar size; those that differ much run apart, so that none pays for another's padding. A run that
fails is repeated for each walk alone, so that a bad one fails alone. Nothing that a walk gets depends on the
others.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec
import numpy as np

from server.contract.bundle import Bundle
from server.contract.manifest import NEXT
from server.contract.tensors import DTYPES, Array, join, split
from server.errors import ExecutorLost, RunError
from server.runtime.batching import choose
from server.runtime.executor import failure_of
from server.runtime.options import RuntimeOptions
from server.runtime.stepwise.rows import Block, Places, gather, join_rows
from server.runtime.stepwise.stages import StageSessions
from server.runtime.stepwise.steps import Step, Walk, groups, sources_of, stayed
from server.runtime.stepwise.wiring import Newcomer, Sizes, Wiring, axis_sizes, joint
from server.tasks import Prepared, StepwiseTask

logger = logging.getLogger(__name__)

ALONE: Places = np.zeros(1, dtype=np.intp)
"""The places of a single row."""

Events = Sequence[msgspec.Struct]
T = TypeVar("T")


class Walker:
    """The stages of one model on one thread. ``options`` bound the batches of the encoder.

    Attributes:
        runs, rows: runs of the step graph so far, and rows in them.
        cells, padded_cells: what the walks brought to those runs, and what the graph was given.
    """

    def __init__(
        self,
        sessions: StageSessions,
        wiring: Wiring,
        task: StepwiseTask,
        bundle: Bundle,
        options: RuntimeOptions,
    ) -> None:
        self._sessions = sessions
        self._wiring = wiring
        self._task = task
        self._bundle = bundle
        self._options = options
        self.runs = self.rows = self.cells = self.padded_cells = 0

    def begin(self, newcomers: Sequence[Newcomer]) -> list[Walk | RunError]:
        """Encode requests, together where their sizes allow it, and begin the search of each.

        Raises:
            ExecutorLost: the session is gone.
        """
        begun: dict[int, Walk | RunError] = {}
        waiting = list(newcomers)
        while waiting:
            batch = choose(waiting, self._options.max_batch_size, self._options.max_batch_cost)
            chosen = set(map(id, batch))
            waiting = [newcomer for newcomer in waiting if id(newcomer) not in chosen]
            begun.update(zip(map(id, batch), self._begin(batch), strict=True))
        return [begun[id(newcomer)] for newcomer in newcomers]

    def step(self, walks: Sequence[Walk]) -> list[Events | RunError]:
        """Take one step with every walk, none of which is finished, and return what each has to tell.

        Raises:
            ExecutorLost: the session is gone.
        """
        outcomes: dict[int, Events | RunError] = {}
        steps = []
        for walk in walks:
            try:
                steps.append(self._feed(walk))
            except Exception as error:
                outcomes[id(walk)] = failure_of(error)
        for group in groups(steps, self._wiring.cells):
            outcomes.update(zip((id(each.walk) for each in group), self._advance(group), strict=True))
        return [outcomes[id(walk)] for walk in walks]

    def answer(self, requests: Iterable[Prepared]) -> list[msgspec.Struct]:
        """Walk requests to their ends together, without anybody joining: for evaluation and benchmarks.

        Raises:
            RunError: one of them failed.
            ValueError: one does not fit the stages.
        """
        begun = self.begin([self._wiring.newcomer(prepared) for prepared in requests])
        walks = [_insist(walk) for walk in begun]
        while live := [walk for walk in walks if not walk.search.finished]:
            for outcome in self.step(live):
                _insist(outcome)
        return [walk.search.answer() for walk in walks]

    def _begin(self, batch: Sequence[Newcomer]) -> list[Walk | RunError]:
        try:
            encoded = self._encode(batch)
        except ExecutorLost:
            raise
        except Exception as error:
            if len(batch) == 1:
                return [failure_of(error)]
            logger.warning("an encoding of %d failed, its requests run singly: %r", len(batch), error)
            return [self._begin([newcomer])[0] for newcomer in batch]
        walks: list[Walk | RunError] = []
        for newcomer, own in zip(batch, encoded, strict=True):
            try:
                walks.append(self._walk(newcomer, own))
            except Exception as error:
                walks.append(failure_of(error))
        return walks

    def _encode(self, batch: Sequence[Newcomer]) -> list[dict[str, Array]]:
        encoder = self._wiring.encoder
        if encoder is None or self._sessions.encoder is None:
            return [{} for _ in batch]
        names = self._wiring.encoder_outputs(_wanted(newcomer.prepared for newcomer in batch))
        inputs = join(encoder.inputs, [newcomer.prepared.arrays for newcomer in batch])
        outputs = self._sessions.encoder.run(inputs, names)
        return split(encoder.outputs, outputs, [newcomer.sizes for newcomer in batch])

    def _walk(self, newcomer: Newcomer, encoded: Mapping[str, Array]) -> Walk:
        """Begin a search, with what the encoder made, or the request brought, as its first row."""
        prepared, arrays = newcomer.prepared, {}
        sizes: dict[str, int] = {}
        for spec in self._wiring.step.inputs:
            array = encoded.get(spec.name, prepared.arrays.get(spec.name))
            if array is not None:
                arrays[spec.name] = np.ascontiguousarray(array[None], dtype=DTYPES[spec.datatype])
                sizes.update(axis_sizes(spec, array.shape))
        search = self._task.begin(encoded, prepared, self._bundle)
        return Walk(prepared, search, sizes, self._wiring.cells(sizes), Block(arrays, 1))

    def _feed(self, walk: Walk) -> Step:
        inputs, parents = walk.search.feed()
        if len(inputs) + len(walk.block.arrays) != len(self._wiring.step.inputs):
            raise RunError(f"a search feeds {sorted(inputs)} beside {sorted(walk.block.arrays)}")
        sizes, cells = walk.sizes, walk.cells
        fed: dict[str, int] = {}
        for spec in self._wiring.sized:
            if spec.name in inputs:
                fed |= axis_sizes(spec, inputs[spec.name].shape[1:])
        if fed:
            sizes = {**sizes, **fed}
            cells = self._wiring.cells(sizes)
        if len(parents) == 1 and parents[0] == 0:
            return Step(walk, inputs, ALONE, sizes, cells, walk.rows == 1)
        places = np.asarray(parents, dtype=np.intp)
        if places.min() < 0 or places.max() >= walk.rows:
            raise RunError(f"a search continues rows {list(parents)} of {walk.rows}")
        return Step(walk, inputs, places, sizes, cells, list(parents) == list(range(walk.rows)))

    def _advance(self, group: Sequence[Step]) -> list[Events | RunError]:
        try:
            outputs = self._run(group)
        except ExecutorLost:
            raise
        except Exception as error:
            if len(group) == 1:
                return [failure_of(error)]
            logger.warning("a step of %d failed, its requests run singly: %r", len(group), error)
            return [self._advance([each])[0] for each in group]
        outcomes: list[Events | RunError] = []
        for each, own in zip(group, outputs, strict=True):
            try:
                outcomes.append(each.walk.search.advance(own))
            except Exception as error:
                outcomes.append(failure_of(error))
        return outcomes

    def _run(self, group: Sequence[Step]) -> list[dict[str, Array]]:
        """Run the step graph once; the walks then stand on the rows of that run."""
        sizes = joint([each.sizes for each in group])
        inputs = self._inputs(group, sizes)
        names = self._wiring.step_outputs(_wanted(each.walk.prepared for each in group))
        outputs = self._sessions.step.run(inputs, names)
        rows = sum(len(each.parents) for each in group)
        carried = group[0].walk.block.arrays
        block = Block(
            {name: outputs[NEXT + name] if name in self._wiring.states else inputs[name] for name in carried},
            rows,
        )
        self.runs += 1
        self.rows += rows
        self.cells += sum(each.cells * len(each.parents) for each in group)
        self.padded_cells += self._wiring.cells(sizes) * rows
        results, start = [], 0
        for each in group:
            walk, count = each.walk, len(each.parents)
            walk.block, walk.start, walk.rows, walk.mates = block, start, count, len(group)
            results.append(self._cut(outputs, start, each, sizes))
            start += count
        return results

    def _inputs(self, group: Sequence[Step], sizes: Sizes) -> dict[str, Array]:
        """Join what the searches feed and what their rows carry, left as it is where nothing moved."""
        carried = group[0].walk.block.arrays
        unmoved = stayed(group)
        in_order = unmoved and all(each.in_order for each in group)
        sources = None if in_order else sources_of(group)
        inputs: dict[str, Array] = {}
        for spec in self._wiring.step.inputs:
            name = spec.name
            if name not in carried:
                inputs[name] = join_rows(spec, [each.inputs[name] for each in group], sizes)
            elif sources is None or (unmoved and name not in self._wiring.states):
                inputs[name] = carried[name]
            else:
                inputs[name] = gather(
                    spec, [(block.arrays[name], places) for block, places in sources], sizes
                )
        return inputs

    def _cut(self, outputs: Mapping[str, Array], start: int, step: Step, sizes: Sizes) -> dict[str, Array]:
        """Return the rows of one walk, without padding, of the outputs that it wants."""
        end, padded = start + len(step.parents), step.sizes != sizes
        own: dict[str, Array] = {}
        for name in step.walk.prepared.outputs:
            if name in outputs:
                rows = own[name] = outputs[name][start:end]
                if padded and (axes := self._wiring.cuts.get(name)):
                    own[name] = rows[(slice(None), *(slice(step.sizes.get(axis)) for axis in axes))]
        return own


def _wanted(requests: Iterable[Prepared]) -> set[str]:
    return {name for prepared in requests for name in prepared.outputs}


def _insist(outcome: T | RunError) -> T:
    if isinstance(outcome, RunError):
        raise outcome
    return outcome
