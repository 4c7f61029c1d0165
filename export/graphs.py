"""The table of families as graphs. A new family is one line here, and a module where its graphs are made."""

from __future__ import annotations

from collections.abc import Callable

from export.completion import completion_graphs
from export.wrappers import Graph, Graphs, question_answering_graph
from models.checkpoint import Checkpoint

GRAPHS: dict[str, Callable[[Checkpoint], Graph | Graphs]] = {
    "dmn_plus": question_answering_graph,
    "pointer_sentinel_lstm": completion_graphs,
}
"""How the checkpoint of a family becomes a graph, or several."""


def graphs_of(checkpoint: Checkpoint) -> Graphs:
    """Return all graphs of a checkpoint; a family of one graph has no stages."""
    made = GRAPHS[checkpoint.family](checkpoint)
    return made if isinstance(made, Graphs) else Graphs(made)
