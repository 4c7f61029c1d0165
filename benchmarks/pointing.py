"""What the export of a pointer network gains: whole greedy answers, in ONNX Runtime and in eager torch.

The graph is one ONNX Loop over the decoder; eager torch runs the same encoder and steps from Python. One
thread each on the same core, 20 points. Takes about a minute, and needs torch and the bundle's checkpoint.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from benchmarks.export import milliseconds
from benchmarks.machine import pinned
from benchmarks.options import parser
from benchmarks.report import Table, about_bundle, ratios, spread, write
from export.graphs import graphs_of
from export.wrappers import EagerSession
from export.writing import CHECKPOINT
from models.checkpoint import load_checkpoint
from server.contract.bundle import Bundle, versions_of
from server.contract.tensors import Arrays, join
from server.runtime.session import Session, open_session

MODULE = "benchmarks.pointing"
BUNDLE = "pointer-tour"
BATCH_SIZES, POINTS = (1, 8, 32), 20

Milliseconds = dict[str, dict[int, list[float]]]
"""By form and batch size, the time of a batch in each repeat."""


def forms(bundle: Bundle) -> tuple[dict[str, Session], dict[int, Arrays]]:
    """Return both forms of the network, and a batch of each size.

    Raises:
        SystemExit: the bundle does not keep its checkpoint.
    """
    path = bundle.folder / CHECKPOINT
    if not path.is_file():
        raise SystemExit(f"the bundle has no {CHECKPOINT}; export it with its checkpoint")
    graph = graphs_of(load_checkpoint(path)).model
    assert graph.draw is not None
    batches: dict[int, Arrays] = {}
    for size in BATCH_SIZES:
        requests = graph.draw([{"points": POINTS}] * size, np.random.default_rng(size))
        batches[size] = join(graph.signature.inputs, requests)
    sessions = {"ONNX Runtime": open_session(bundle, "onnx", "cpu"), "eager torch": EagerSession(graph)}
    return sessions, batches


def measure(arguments: argparse.Namespace, bundle: Bundle) -> Milliseconds:
    """Return the time of a batch, for every form, size and repeat."""
    torch.set_num_threads(1)
    outputs = [spec.name for spec in bundle.manifest.signature.outputs]
    with pinned(arguments.server_core):
        sessions, batches = forms(bundle)
        found: Milliseconds = {name: {size: [] for size in BATCH_SIZES} for name in sessions}
        for _ in range(arguments.repeats):
            for size, batch in batches.items():
                for name, session in sessions.items():
                    found[name][size].append(milliseconds(session, batch, outputs))
    return found


def main() -> None:
    """Measure and write the result."""
    options = parser(MODULE, __doc__, repeats=5)
    options.set_defaults(model=BUNDLE)
    arguments = options.parse_args()
    folder = arguments.model_repository / arguments.model
    bundle = Bundle.open(folder, versions_of(folder)[-1])
    found = measure(arguments, bundle)
    onnx, eager = found["ONNX Runtime"], found["eager torch"]
    rows = [
        [str(size), spread(onnx[size]), spread(eager[size]), spread(ratios(eager[size], onnx[size]), 1)]
        for size in BATCH_SIZES
    ]
    columns = ("batch size", *(f"{name} ms" for name in found), "eager torch over ONNX Runtime")
    numbers = {
        name: [{"points": POINTS, "batch_size": size, "ms": ms} for size, ms in sizes.items()]
        for name, sizes in found.items()
    }
    about = {"torch": torch.__version__, **about_bundle(bundle)}
    table = Table(f"Greedy answers for {POINTS} points, in milliseconds a batch", columns, rows)
    write(MODULE, about, [table], numbers, arguments.results)


if __name__ == "__main__":
    main()
