"""The whole graph of a stepwise family as TorchScript: its traced stages, and a loop written as source.

A trace would freeze the loop, so TorchScript compiles it here; ``export.loops`` is the same in ONNX.
"""

from __future__ import annotations

import warnings

import torch
from torch import nn

from export.greedy import whole_inputs
from export.to_torchscript import saved, traced
from export.wrappers import Graphs, Greedy
from server.contract.manifest import NEXT

FORWARD = """
def forward(self, {takes}):
    {encoded} = self.encoder({encoder_takes})
    loop_ids = torch.zeros([{first}.size(0)], dtype=torch.int64, device={first}.device)
    loop_most = {most} + loop_ids
    loop_lengths = loop_ids
    loop_running = loop_ids == 0
    {choice} = loop_ids + {start}
    {lists}
    while bool(loop_running.any()):
        {made} = self.step({step_takes})
        made_choice = made_{scores}.argmax(dim=1)
        made_score = made_{scores}.gather(1, made_choice.unsqueeze(1)).squeeze(1)
        {append}
        loop_lengths = loop_lengths + loop_running.to(torch.int64)
        loop_running = loop_running & (loop_most > loop_lengths){unended}
        {choice} = made_choice
        {carry}
    return {stacked}, loop_lengths
"""
"""Names that are not a family's own begin with ``loop_``, ``made_`` or ``all_``."""


def scripted_loop(graphs: Graphs) -> bytes:
    """Put the traced stages and the greedy loop over them together to one module."""
    greedy = graphs.greedy
    assert greedy is not None
    stages = nn.Module()
    stages.encoder, stages.step = traced(graphs.stages["encoder"]), traced(graphs.stages["step"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        whole = torch.jit.script(stages.eval())
    whole.define(_source(graphs, greedy))
    return saved(whole)


def _source(graphs: Graphs, greedy: Greedy) -> str:
    encoder, step = graphs.stages["encoder"], graphs.stages["step"]
    takes = list(whole_inputs(encoder, step, greedy))
    dims = {spec.name: len(spec.dims) for spec in step.signature.outputs}
    shown = {"choice": 1, "score": 1, **{name: dims[name] for name in greedy.collected}}
    states = [name for name in step.outputs if name.startswith(NEXT)]

    lists = [f"all_{name}: List[Tensor] = []" for name in shown]
    append = [f"all_{name}.append({_kept(f'made_{name}', axes)})" for name, axes in shown.items()]
    carry = [f"{name.removeprefix(NEXT)} = made_{name}" for name in states]
    return FORWARD.format(
        takes=", ".join(takes),
        first=takes[0],
        encoded=_tuple(encoder.outputs),
        encoder_takes=", ".join(encoder.inputs),
        step_takes=", ".join(step.inputs),
        made=_tuple([f"made_{name}" for name in step.outputs]),
        choice=greedy.choice,
        scores=greedy.scores,
        most=greedy.most,
        start=greedy.start,
        unended="" if greedy.end is None else f" & (made_choice != {greedy.end})",
        lists="\n    ".join(lists),
        append="\n        ".join(append),
        carry="\n        ".join(carry) or "pass",
        stacked=", ".join(f"torch.stack(all_{name}, dim=1)" for name in shown),
    )


def _kept(value: str, axes: int) -> str:
    shape = ", ".join(["-1"] + (axes - 1) * ["1"])
    return f"torch.where(loop_running.view({shape}), {value}, torch.zeros_like({value}))"


def _tuple(names: list[str]) -> str:
    return ", ".join(names) + ("," if len(names) == 1 else "")
