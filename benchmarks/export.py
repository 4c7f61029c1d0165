"""What the export gains: a batch in ONNX Runtime, in TorchScript and in eager torch, with one thread each.

All run on the same core. Takes about a minute. It needs torch and the checkpoint of the bundle, which the
export keeps beside it.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Mapping

import numpy as np
import torch

from benchmarks.machine import pinned
from benchmarks.options import open_bundle, parser
from benchmarks.report import Table, about_bundle, ratios, spread, write
from export.graphs import graphs_of
from export.to_torchscript import to_torchscript
from export.wrappers import EagerSession
from export.writing import CHECKPOINT
from models.checkpoint import load_checkpoint
from server.contract.bundle import Bundle
from server.contract.tensors import Arrays
from server.runtime.session import Session, open_session
from server.runtime.torchscript_session import TorchScriptSession

MODULE = "benchmarks.export"
BATCH_SIZES, FACTS = (1, 8, 32), (20, 70)
WORDS, QUESTION_WORDS = 6, 4
SLICE_SECONDS = 0.3
"""How long one form is measured at one size in one repeat."""

Cell = tuple[int, int]
Milliseconds = dict[str, dict[Cell, list[float]]]
"""By form and (facts, batch size), the time of a batch in each repeat."""


def sessions(bundle: Bundle) -> dict[str, Session]:
    """Return the three forms of the network, as the server's runtimes run them.

    Raises:
        SystemExit: the bundle does not keep its checkpoint.
    """
    path = bundle.folder / CHECKPOINT
    if not path.is_file():
        raise SystemExit(f"the bundle has no {CHECKPOINT}; export it with its checkpoint")
    graph = graphs_of(load_checkpoint(path)).model
    return {
        "ONNX Runtime": open_session(bundle, "onnx", "cpu"),
        "TorchScript": TorchScriptSession(to_torchscript(graph), graph.signature),
        "eager torch": EagerSession(graph),
    }


def batch(facts: int, size: int, ids: int) -> dict[str, np.ndarray]:
    """Return random stories without padding."""
    random = np.random.default_rng(0)
    return {
        "story_tokens": random.integers(2, ids, (size, facts, WORDS)),
        "question_tokens": random.integers(2, ids, (size, QUESTION_WORDS)),
    }


def milliseconds(session: Session, inputs: Arrays, outputs: list[str]) -> float:
    """Return the median time of a run."""
    session.run(inputs, outputs)
    times: list[float] = []
    end = time.perf_counter() + SLICE_SECONDS
    while not times or time.perf_counter() < end:
        began = time.perf_counter()
        session.run(inputs, outputs)
        times.append(time.perf_counter() - began)
    return float(np.median(times)) * 1e3


def measure(arguments: argparse.Namespace, bundle: Bundle) -> Milliseconds:
    """Return the time of a batch, for every form, size and repeat."""
    torch.set_num_threads(1)
    outputs = [spec.name for spec in bundle.manifest.signature.outputs]
    cells = list(itertools.product(FACTS, BATCH_SIZES))
    with pinned(arguments.server_core):
        forms = sessions(bundle)
        assert bundle.vocabulary is not None
        inputs = {cell: batch(*cell, ids=len(bundle.vocabulary)) for cell in cells}
        found: Milliseconds = {name: {cell: [] for cell in cells} for name in forms}
        for _ in range(arguments.repeats):
            for cell in cells:
                for name, session in forms.items():
                    found[name][cell].append(milliseconds(session, inputs[cell], outputs))
    return found


def rows(found: Mapping[str, Mapping[Cell, list[float]]]) -> list[list[str]]:
    """Return a line for each size: the time of every form, and how much longer eager torch takes."""
    onnx, eager = found["ONNX Runtime"], found["eager torch"]
    return [
        [
            *map(str, cell),
            *(spread(cells[cell]) for cells in found.values()),
            spread(ratios(eager[cell], onnx[cell]), 1),
        ]
        for cell in onnx
    ]


def main() -> None:
    """Measure and write the result."""
    arguments = parser(MODULE, __doc__, repeats=5).parse_args()
    bundle = open_bundle(arguments)
    found = measure(arguments, bundle)
    columns = ("facts", "batch size", *(f"{name} ms" for name in found), "eager torch over ONNX Runtime")
    numbers = {
        name: [{"facts": facts, "batch_size": size, "ms": ms} for (facts, size), ms in cells.items()]
        for name, cells in found.items()
    }
    about = {"torch": torch.__version__, **about_bundle(bundle)}
    write(
        MODULE, about, [Table("A batch, in milliseconds", columns, rows(found))], numbers, arguments.results
    )


if __name__ == "__main__":
    main()
