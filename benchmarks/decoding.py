"""Translating 256 sentences on one core: the server's decoder against eager torch.

*Joining* is the server's ``Decoder`` in process: who is finished leaves, and who waits takes the place.
*Static* runs the same graphs in batches that stay as they began, to the end of the longest translation.
*Eager, same algorithm* is ``models.translator`` in batches of like length, which stop when all have ended.
*Eager, naive* pads every source to the longest of all and takes all steps that it might need. All are greedy,
text in and text out, and counted in seconds and in processor seconds, which other work on the machine
disturbs less. Needs torch and the checkpoint of the bundle. Takes some minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.captions import captions
from benchmarks.machine import pinned
from benchmarks.options import parser
from benchmarks.report import Table, about_bundle, ratios, spread, write
from export.half import rounded
from export.writing import CHECKPOINT
from models.checkpoint import Checkpoint, load_checkpoint
from models.families import build
from models.translating import source_ids, subwords_of, translations
from models.translator import SearchOptions, log_probabilities, padded
from server.contract.bundle import Bundle, versions_of
from server.contract.subwords import END_ID, START_ID
from server.errors import RunError
from server.runtime.lines import Priority
from server.runtime.options import RuntimeOptions
from server.runtime.stepwise.decoder import Decoder
from server.runtime.stepwise.stages import open_stages
from server.runtime.stepwise.walker import Walker
from server.runtime.stepwise.wiring import Wiring
from server.tasks import Prepared
from server.tasks.translating import Translating
from server.tasks.translating_form import TranslateRequest, Translation

MODULE = "benchmarks.decoding"
BUNDLE = "translate-en-fr-attention"
SENTENCES, BATCH_SIZE = 256, 32


class Contest:
    """The same sentences for every way of translating them."""

    def __init__(self, bundle: Bundle, checkpoint: Checkpoint, texts: Sequence[str]) -> None:
        self.bundle = bundle
        self.texts = texts
        self.options = RuntimeOptions(max_batch_size=BATCH_SIZE, max_queue_cost=10**9, warm_up=False)
        self._task = Translating()
        self._network: Any = build(checkpoint)
        self._subwords = subwords_of(checkpoint)

    def joining(self) -> list[str]:
        """Hand all to the server's queue."""
        return asyncio.run(self._join())

    async def _join(self) -> list[str]:
        decoder = Decoder([self.stages], self._task, self.bundle, self.options)

        async def ask(prepared: Prepared) -> str:
            answered = await decoder.run(prepared, None, priority=Priority.BATCH)
            return _text(answered.answer)

        said = await asyncio.gather(*map(ask, self._prepared()))
        await decoder.close()
        return said

    def static(self) -> list[str]:
        """Walk one batch after the other, all of it to the end of its longest."""
        wiring = Wiring.of(self.bundle.manifest)
        walker = Walker(self.stages, wiring, self._task, self.bundle, self.options)
        said: list[str] = []
        prepared = self._prepared()
        for first in range(0, len(prepared), BATCH_SIZE):
            batch = [wiring.newcomer(one) for one in prepared[first : first + BATCH_SIZE]]
            walks = [walk for walk in walker.begin(batch) if not isinstance(walk, RunError)]
            ended: dict[int, str] = {}
            while len(ended) < len(walks):
                walker.step(walks)
                now = [walk for walk in walks if walk.search.finished and id(walk) not in ended]
                ended |= {id(walk): _text(walk.search.answer()) for walk in now}
            said += [ended[id(walk)] for walk in walks]
        return said

    def eager(self) -> list[str]:
        """Translate as the checkpoints are measured."""
        return translations(self._network, self._subwords, self.texts, SearchOptions())

    @torch.inference_mode()
    def naive(self) -> list[str]:
        """Pad all to the longest, and take every step that a translation may have."""
        sources = [source_ids(self._subwords[0], text) for text in self.texts]
        longest = max(map(len, sources))
        said: list[str] = []
        for first in range(0, len(sources), BATCH_SIZE):
            batch = padded([*sources[first : first + BATCH_SIZE], np.ones(longest, np.int64)])[:-1]
            memory, state = self._network.encode(batch)
            last_B = torch.full((len(batch),), START_ID)
            taken = []
            for _ in range(self._network.most(longest) + 1):
                readout_B1E, _, state = self._network.decode(last_B.unsqueeze(1), state, memory)
                last_B = log_probabilities(self._network, readout_B1E[:, 0]).argmax(dim=-1)
                taken.append(last_B)
            for row in torch.stack(taken, dim=1).tolist():
                pieces = row[: row.index(END_ID)] if END_ID in row else row
                said.append(self._subwords[1].text(pieces).strip())
        return said

    def open(self) -> None:
        """Open the sessions for one way; the server's queue closes those that it was given."""
        self.stages = open_stages(self.bundle, self.options)

    def _prepared(self) -> list[Prepared]:
        request = TranslateRequest(texts=list(self.texts), split="none", attention="none")
        parts = self._task.parts(request, self.bundle)
        return [self._task.prepare(part, self.bundle) for part in parts]


def _text(answer: object) -> str:
    assert isinstance(answer, Translation)
    return answer.text or ""


def _tokens(contest: Contest, said: Sequence[str]) -> int:
    """Count what was translated, each end included."""
    assert contest.bundle.subwords is not None
    return sum(len(contest.bundle.subwords.ids(text)) + 1 for text in said)


def timed(way: Callable[[], list[str]]) -> tuple[float, float, list[str]]:
    """Return the seconds, the processor seconds and the translations."""
    started, processor = time.perf_counter(), time.process_time()
    said = way()
    return time.perf_counter() - started, time.process_time() - processor, said


def arguments_of() -> argparse.Namespace:
    """Read the command line."""
    options = parser(MODULE, __doc__, repeats=5)
    options.add_argument("--checkpoint", type=Path, help="by default the one that the bundle keeps")
    options.set_defaults(model=BUNDLE)
    return options.parse_args()


def main() -> None:
    """Measure and write the result."""
    arguments = arguments_of()
    folder = arguments.model_repository / arguments.model
    bundle = Bundle.open(folder, versions_of(folder)[-1])
    torch.set_num_threads(1)
    checkpoint = rounded(load_checkpoint(arguments.checkpoint or folder / CHECKPOINT))
    contest = Contest(bundle, checkpoint, captions(SENTENCES))
    ways = {
        "joining": contest.joining,
        "static": contest.static,
        "eager, same algorithm": contest.eager,
        "eager, naive": contest.naive,
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    costs: dict[str, list[float]] = {name: [] for name in ways}
    said: dict[str, list[str]] = {}
    with pinned(arguments.server_core):
        for _ in range(arguments.repeats):
            for name, way in ways.items():
                contest.open()
                seconds, processor_s, said[name] = timed(way)
                tokens = _tokens(contest, said["joining"])
                rates[name].append(tokens / seconds)
                costs[name].append(tokens / processor_s)
    rows = [
        [
            name,
            spread(costs[name], 0),
            spread(ratios(costs["joining"], costs[name])),
            spread(rates[name], 0),
            str(sum(own != other for own, other in zip(said[name], said["joining"], strict=True))),
        ]
        for name in ways
    ]
    columns = (
        "way",
        "tokens a processor second",
        "joining against it",
        "tokens/s",
        "sentences translated otherwise",
    )
    words = [len(text.split()) for text in contest.texts]
    tokens = _tokens(contest, said["joining"])
    about = {
        **about_bundle(bundle),
        "sentences": f"{SENTENCES} of {min(words)} to {max(words)} words, {tokens} tokens",
        "batch": f"at most {BATCH_SIZE} sentences",
        "torch": torch.__version__,
    }
    table = Table("Greedy translation on one core", columns, rows)
    numbers = {"tokens_per_processor_s": costs, "tokens_per_s": rates}
    write(MODULE, about, [table], numbers, arguments.results)


if __name__ == "__main__":
    main()
