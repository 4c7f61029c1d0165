"""Golden probes with what eager torch answers to them.

They lie in the bundle, and a server replays them on the device it really got before it answers anything.
The requests come from ``export.probes``; what a stage of a stepwise family gets is what these lead to.
"""

from __future__ import annotations

from collections.abc import Sequence

from export.greedy import MOST_WALKED, GreedyDecoder, Walk, is_certain
from export.probes import PROBES
from export.wrappers import EagerSession, Graph, Graphs
from server.contract.bundle import Bundle, Probes
from server.contract.manifest import NEXT
from server.contract.tensors import Arrays, join

GOLDEN = "golden"


def golden_role(stage: str) -> str:
    """Return the role of a stage's probes."""
    return f"{stage}_{GOLDEN}"


def golden_probes(graphs: Graphs, bundle: Bundle, tolerance: float) -> dict[str, Probes]:
    """Make the probes of a bundle's task and answer each alone by eager torch.

    Args:
        graphs: the network as graphs.
        bundle: the bundle in the making; its manifest and vocabulary are used.
        tolerance: the largest absolute difference a replay may show.

    Returns:
        By role the probes of the whole graph, and of every stage that is another graph.

    Raises:
        ValueError: no probe is decoded without a close decision.
    """
    requests = PROBES[bundle.manifest.task](bundle)
    if any(name.startswith(NEXT) for name in graphs.model.outputs):
        requests = [*requests, *_continued(graphs.model, requests)]
    asked = {GOLDEN: _certain(graphs, requests)}
    if graphs.greedy is not None:
        encoder, step = graphs.stages["encoder"], graphs.stages["step"]
        walk = Walk(encoder, step, graphs.greedy)
        asked[golden_role("encoder")] = [
            {name: request[name] for name in encoder.inputs} for request in requests
        ]
        asked[golden_role("step")] = [
            walk.after([request], place % (MOST_WALKED + 1))[0] for place, request in enumerate(requests)
        ]
    graph_of = {GOLDEN: graphs.model} | {golden_role(stage): graph for stage, graph in graphs.stages.items()}
    return {
        role: Probes(tuple(probes), tuple(_answers(graph_of[role], probes)), tolerance)
        for role, probes in asked.items()
    }


def _answers(graph: Graph, requests: Sequence[Arrays]) -> list[Arrays]:
    session = EagerSession(graph)
    batches = [session.run(join(graph.signature.inputs, [one]), graph.outputs) for one in requests]
    return [{name: array[0] for name, array in batch.items()} for batch in batches]


def _continued(graph: Graph, requests: Sequence[Arrays]) -> list[Arrays]:
    """Ask every probe again from the state it has led to."""
    return [
        {**request, **{name.removeprefix(NEXT): own[name] for name in own if name.startswith(NEXT)}}
        for request, own in zip(requests, _answers(graph, requests), strict=True)
    ]


def _certain(graphs: Graphs, requests: Sequence[Arrays]) -> Sequence[Arrays]:
    """Leave out probes with a decision so close that another machine may take it otherwise."""
    if graphs.greedy is None:
        return requests
    decoder = graphs.model.module
    assert isinstance(decoder, GreedyDecoder)
    specs = graphs.model.signature.inputs
    certain = [request for request in requests if is_certain(decoder, join(specs, [request]))]
    if not certain:
        raise ValueError("no golden probe is decoded without a close decision")
    return certain
