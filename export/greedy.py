"""Driving a step graph greedily in eager torch: what the loop of a stepwise family's whole graph must equal.

A row ends when it chooses ``end`` or has taken its ``most`` steps; from then on its choices, scores and all
that is collected are zero, whatever the other rows of the batch still do.

Legend: B batch, C choices, S steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from export.samples import draw
from export.wrappers import EagerSession, Graph, Graphs, Greedy
from server.contract.manifest import NEXT, AttentionSpec, Signature, TensorSpec
from server.contract.tensors import Array, Arrays, join, sizes_of, split

SCORES, LENGTHS = "scores", "lengths"
"""Outputs of every such whole graph: the score of each choice, and how many steps a row took."""

MOST_WALKED = 3
"""Random requests for a step graph have taken up to so many steps before."""

TIE = 1e-4
"""Where the two best scores are nearer, rounding decides, and another machine may choose otherwise."""


@dataclass(frozen=True)
class Decoded:
    """What a greedy decoder did: the outputs of the whole graph, and of each step how close the choice was.

    ``margins_BS`` is the difference of the two best scores, infinite where there was one choice or none.
    """

    outputs: dict[str, Tensor]
    margins_BS: Tensor


class GreedyDecoder(nn.Module):
    """Encoder and step as one module, looped over in Python.

    ``encoder`` and ``step`` take and return tensors in the order of the graphs' signatures.
    """

    def __init__(
        self, encoder: nn.Module, step: nn.Module, graphs: Mapping[str, Graph], greedy: Greedy
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.step = step
        self.greedy = greedy
        self._inputs = list(whole_inputs(graphs["encoder"], graphs["step"], greedy))
        self._encoder_names = graphs["encoder"].inputs, graphs["encoder"].outputs
        self._step_names = graphs["step"].inputs, graphs["step"].outputs

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs of the whole graph, in order."""
        return tuple(self.decode(*inputs).outputs.values())

    def decode(self, *inputs: Tensor, forced_BS: Tensor | None = None) -> Decoded:
        """Follow the best choices, or those that are given.

        Args:
            inputs: the inputs of the whole graph in order.
            forced_BS: int64, to be chosen instead of the best.
        """
        greedy, batch = self.greedy, len(inputs[0])
        known = dict(zip(self._inputs, inputs, strict=True))
        known |= _run(self.encoder, self._encoder_names, known)
        most_B = known[greedy.most] if isinstance(greedy.most, str) else torch.full((batch,), greedy.most)
        known[greedy.choice] = torch.full((batch,), greedy.start)
        running_B = torch.ones(batch, dtype=torch.bool)
        taken: list[list[Tensor]] = []
        while running_B.any():
            made = _run(self.step, self._step_names, known)
            best_BC = made[greedy.scores].topk(min(2, made[greedy.scores].shape[1]), dim=1).values
            margin_B = best_BC[:, 0] - best_BC[:, 1] if best_BC.shape[1] > 1 else best_BC[:, 0] + torch.inf
            choice_B = made[greedy.scores].argmax(dim=1) if forced_BS is None else forced_BS[:, len(taken)]
            score_B = made[greedy.scores].gather(1, choice_B.unsqueeze(1)).squeeze(1)
            shown = [choice_B, score_B, *(made[name] for name in greedy.collected)]
            taken.append([_kept(value, running_B) for value in shown])
            taken[-1] += [running_B, margin_B.masked_fill(~running_B, torch.inf)]
            running_B = running_B & (most_B > len(taken))
            if greedy.end is not None:
                running_B = running_B & (choice_B != greedy.end)
            known |= {name.removeprefix(NEXT): made[name] for name in made if name.startswith(NEXT)}
            known[greedy.choice] = choice_B
        stacked = [torch.stack(values, dim=1) for values in zip(*taken, strict=True)]
        *shown, ran_BS, margins_BS = stacked
        names = [greedy.chosen, SCORES, *greedy.collected]
        outputs = dict(zip(names, shown, strict=True)) | {LENGTHS: ran_BS.sum(dim=1)}
        return Decoded(outputs, margins_BS)


def _run(
    module: nn.Module, names: tuple[Sequence[str], Sequence[str]], known: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    inputs, outputs = names
    return dict(zip(outputs, module(*(known[name] for name in inputs)), strict=True))


def _kept(value: Tensor, running_B: Tensor) -> Tensor:
    return torch.where(running_B.view(-1, *[1] * (value.dim() - 1)), value, torch.zeros_like(value))


def is_certain(decoder: GreedyDecoder, batch: Arrays) -> bool:
    """Tell whether every choice of these requests is further than ``TIE`` from the next best."""
    with torch.inference_mode():
        return bool(
            (decoder.decode(*(torch.tensor(array) for array in batch.values())).margins_BS >= TIE).all()
        )


def whole_inputs(encoder: Graph, step: Graph, greedy: Greedy) -> dict[str, TensorSpec]:
    """Return the inputs of the whole: the encoder's, and what the step takes and nobody makes."""
    made = {greedy.choice, *encoder.outputs}
    more = [spec for spec in step.signature.inputs if spec.name not in made]
    return {spec.name: spec for spec in (*encoder.signature.inputs, *more)}


def greedy_graphs(encoder: Graph, step: Graph, greedy: Greedy, attention: AttentionSpec) -> Graphs:
    """Make the graphs of a family that has an encoder and a step.

    The whole needs no wrapper of its own. The step's ``draw`` is made here: random requests of the encoder,
    encoded, after up to ``MOST_WALKED`` greedy steps.

    Args:
        encoder: run once.
        step: run again and again; its input ``X`` is the encoder's output ``X`` or its own output ``next_X``
            of the step before, its other inputs are inputs of the whole.
        greedy: how it is driven.
        attention: what the whole says about its attention, one of ``greedy.collected``.
    """
    outputs = {spec.name: spec for spec in step.signature.outputs}
    signature = Signature(
        inputs=tuple(whole_inputs(encoder, step, greedy).values()),
        outputs=(
            TensorSpec(name=greedy.chosen, datatype="INT64", dims=("batch", "steps")),
            TensorSpec(name=SCORES, datatype="FP32", dims=("batch", "steps")),
            *(
                TensorSpec(
                    name=name,
                    datatype=outputs[name].datatype,
                    dims=("batch", "steps", *outputs[name].dims[1:]),
                )
                for name in greedy.collected
            ),
            TensorSpec(name=LENGTHS, datatype="INT64", dims=("batch",)),
        ),
        attention=attention,
    )
    decoder = GreedyDecoder(encoder.module, step.module, {"encoder": encoder, "step": step}, greedy).eval()
    whole = Graph(decoder, signature, {**step.limits, **encoder.limits}, encoder.ids, encoder.draw)
    walked = Graph(step.module, step.signature, step.limits, step.ids, Walk(encoder, step, greedy))
    return Graphs(whole, {"encoder": encoder, "step": walked}, greedy)


class Walk:
    """Draws requests for a step graph from places that greedy decoding reaches."""

    def __init__(self, encoder: Graph, step: Graph, greedy: Greedy) -> None:
        self._graphs = encoder, step
        self._greedy = greedy
        self._sessions = EagerSession(encoder), EagerSession(step)

    def __call__(self, sizes: Sequence[Mapping[str, int]], rng: np.random.Generator) -> Sequence[Arrays]:
        """Draw requests for the encoder, encode them, and walk a few steps."""
        requests = draw(self._graphs[0], sizes, rng)
        return self.after(requests, int(rng.integers(0, MOST_WALKED, endpoint=True)))

    def after(self, requests: Sequence[Arrays], steps: int) -> Sequence[Arrays]:
        """Return what the step graph takes after so many greedy steps of these requests of the whole."""
        (encoder, step), greedy = self._graphs, self._greedy
        sizes = [sizes_of(encoder.signature.inputs, request) for request in requests]
        batch = join(encoder.signature.inputs, requests)
        encoded = self._sessions[0].run(batch, encoder.outputs)
        start = {greedy.choice: np.array(greedy.start)}
        now: list[dict[str, Array]] = [
            {**request, **own, **start}
            for request, own in zip(requests, split(encoder.signature.outputs, encoded, sizes), strict=True)
        ]
        for _ in range(steps):
            outputs = self._sessions[1].run(join(step.signature.inputs, now), step.outputs)
            for row, own in zip(now, split(step.signature.outputs, outputs, sizes), strict=True):
                row.update({name.removeprefix(NEXT): own[name] for name in own if name.startswith(NEXT)})
                row[greedy.choice] = np.array(own[greedy.scores].argmax())
        return [{name: row[name] for name in step.inputs} for row in now]
