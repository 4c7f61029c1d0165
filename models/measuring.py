"""Running a question-answering network over many stories: what it got wrong, and where it looked.

Used on validation data while training, and by ``models.evaluation`` on checkpoints.
Legend: B batch, F facts, K hops, A answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models.data.stories import EncodedStories
from models.dmn_plus import DMNPlusOutput


@dataclass(frozen=True)
class Results:
    """Per example: loss, whether the answer was wrong, and the gates ``[K, F]`` without padding.

    The loss of an answer that the network cannot give means nothing.
    """

    loss: NDArray[np.float64]
    wrong: NDArray[np.bool_]
    gates: list[NDArray[np.float32]]


@torch.no_grad()
def run(network: nn.Module, stories: EncodedStories, hops: int, device: str = "cpu") -> Results:
    """Run a network over all stories, in evaluation mode.

    Args:
        network: a network of a question-answering family.
        stories: what to answer.
        hops: the network's number of hops.
        device: where the network is.
    """
    network.eval()
    loss = np.zeros(len(stories))
    wrong = np.zeros(len(stories), dtype=np.bool_)
    gates: list[NDArray[np.float32]] = [np.zeros((0, 0), np.float32)] * len(stories)
    everything = np.arange(len(stories))
    for batch in stories.batches(everything, hops, 8192, 512, np.random.default_rng(0)):
        output: DMNPlusOutput = network(batch.story_BFT.to(device), batch.question_BQ.to(device))
        log_p_BA = output.hop_logits_BKA[:, -1].log_softmax(dim=-1).cpu()
        known_B = batch.answer_B.clamp(min=0)
        loss[batch.indices] = -log_p_BA.gather(1, known_B.unsqueeze(1)).squeeze(1).numpy()
        wrong[batch.indices] = (log_p_BA.argmax(dim=-1) != batch.answer_B).numpy()
        for row, index in enumerate(batch.indices):
            gates[index] = output.gate_BKF[row, :, : stories.sizes[index]].cpu().numpy()
    return Results(loss, wrong, gates)


def gold_recall(gates: Sequence[NDArray[np.float32]], supports: Sequence[Sequence[int]]) -> float | None:
    """Return in percent how many gold facts are among the top gates, or None without gold facts.

    With ``n`` gold facts, a fact counts when its largest gate over the hops is among the story's ``n``
    largest. The mean is over examples.

    Args:
        gates: for each example ``[K, F]``, without padding.
        supports: for each example the places of its gold facts; examples without any do not count.
    """
    shares = []
    for gate_KF, gold in zip(gates, supports, strict=True):
        if gold:
            top = np.argsort(-gate_KF.max(axis=0), kind="stable")[: len(set(gold))]
            shares.append(len(set(top.tolist()) & set(gold)) / len(set(gold)))
    return 100 * float(np.mean(shares)) if shares else None
