"""The table of families as graphs. A new family is one line here, and a module where its graphs are made."""

from __future__ import annotations

from collections.abc import Callable

from export.active_memory import computing_graph
from export.completion import completion_graphs
from export.pointing import pointing_graphs
from export.reading import reading_graph
from export.translation import translation_graphs
from export.wrappers import Graph, Graphs, question_answering_graph
from models.checkpoint import Checkpoint

GRAPHS: dict[str, Callable[[Checkpoint], Graph | Graphs]] = {
    "dmn_plus": question_answering_graph,
    "pointer_sentinel_lstm": completion_graphs,
    "attention_sum_reader": reading_graph,
    "pointer_network": pointing_graphs,
    "diagonal_neural_gpu": computing_graph,
    "attention_gru": translation_graphs,
    "extended_neural_gpu": translation_graphs,
}
"""How the checkpoint of a family becomes a graph, or several."""


def graphs_of(checkpoint: Checkpoint) -> Graphs:
    """Return all graphs of a checkpoint; a family of one graph has no stages."""
    made = GRAPHS[checkpoint.family](checkpoint)
    return made if isinstance(made, Graphs) else Graphs(made)
