"""A pointer model in plain numpy: its attention prefers what it is told, and a bundle that says so."""

from types import SimpleNamespace

import numpy as np

from server.contract.manifest import AttentionSpec, GraphSpec, TensorSpec
from server.tasks.pointing import Pointing

LIMIT = 12


def manifest(task, limit=LIMIT):
    points = TensorSpec(name="points", datatype="FP32", dims=("batch", "points", 2))
    kinds = TensorSpec(name="kinds", datatype="INT64", dims=("batch", "points"))
    choice = TensorSpec(name="choice", datatype="INT64", dims=("batch",))
    attention = TensorSpec(name="attention", datatype="FP32", dims=("batch", "points"))
    spec = AttentionSpec(output="attention", kind="pointer", axes=("step", "point"), normalized_over="point")
    return SimpleNamespace(
        name="pointer",
        selector={"task": task},
        limits={"max_points": limit},
        stages={
            "encoder": GraphSpec(inputs=(points, kinds), outputs=()),
            "step": GraphSpec(inputs=(choice,), outputs=(attention,)),
        },
        signature=SimpleNamespace(attention=spec),
    )


def bundle(task, limit=LIMIT):
    return SimpleNamespace(manifest=manifest(task, limit))


def walk(request, wish, visit_once=True):
    """Drive the search to its end; ``wish(step, row)`` gives an unnormalised row of attention.

    Returns the answer and the most rows that were fed at a time.
    """
    task, model = Pointing(max_attention_weights=10_000), bundle(request.task)
    prepared = task.prepare(request, model)
    search = task.begin({}, prepared, model)
    histories, most, step = [()], 1, 0
    while not search.finished:
        feed, parents = search.feed()
        histories = [
            (*histories[parent], *([last] if last >= 0 else []))
            for parent, last in zip(parents, feed["choice"].tolist(), strict=True)
        ]
        most = max(most, len(parents))
        assert len(parents) <= prepared.rows
        rows = []
        for history in histories:
            row = np.array(wish(step, history), np.float32)
            if visit_once:
                row[list(history)] = 0
            rows.append(row / row.sum() if row.sum() else row)
        assert search.advance({"attention": np.stack(rows)}) == ()
        step += 1
    return search.answer(), most
