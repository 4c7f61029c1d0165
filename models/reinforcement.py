"""Learning round trips from their lengths: REINFORCE with the mean of an instance's own samples as baseline.

Bello et al. 2016 (arXiv 1611.09940) fine-tune pointer networks so; the shared baseline is POMO's (Kwon et al.
2020, arXiv 2010.16011, section 4.2). Trips are drawn step by step without gradients, and their probabilities
come from following them at once, as in supervised training.

Legend: B batch, K samples of an instance, P points, S steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.pointer_network import PointerNetwork


def reinforce_loss(network: PointerNetwork, points_BP2: Tensor, kinds_BP: Tensor, samples: int) -> Tensor:
    """Return a loss whose gradient makes shorter trips of an instance more probable.

    Args:
        network: of the task ``tour``.
        points_BP2: normalised points.
        kinds_BP: their kinds; instances of one size, without padding.
        samples: trips of each instance, at least two.
    """
    points_EP2 = points_BP2.repeat_interleave(samples, dim=0)
    kinds_EP = kinds_BP.repeat_interleave(samples, dim=0)
    tours_ES = sampled_tours(network, points_EP2, kinds_EP)
    lengths_BK = tour_lengths(points_EP2, tours_ES).reshape(-1, samples)
    advantage_BK = lengths_BK - lengths_BK.mean(dim=1, keepdim=True)
    log_ESP = torch.log_softmax(network(points_EP2, kinds_EP, tours_ES), dim=-1)
    log_E = log_ESP.gather(2, tours_ES.unsqueeze(-1)).squeeze(-1).sum(dim=1)
    return (advantage_BK.flatten() * log_E).mean()


@torch.no_grad()
def sampled_tours(
    network: PointerNetwork, points_EP2: Tensor, kinds_EP: Tensor, greedy: bool = False
) -> Tensor:
    """Draw a round trip of each instance by the network's probabilities, or by its best steps, ``[E, S]``."""
    memory = network.encode(points_EP2, kinds_EP)
    state, allowed_EP = memory.first, kinds_EP > 0
    last_E = torch.full((len(points_EP2),), -1, device=points_EP2.device)
    before_E, choices = last_E, []
    for _ in range(points_EP2.shape[1]):
        logits_EP, state = network.step(memory, last_E, before_E, state, allowed_EP)
        if greedy:
            choice_E = logits_EP.argmax(dim=-1)
        else:
            choice_E = torch.multinomial(torch.softmax(logits_EP, dim=-1), 1).squeeze(1)
        allowed_EP = allowed_EP.scatter(1, choice_E.unsqueeze(1), False)
        choices.append(choice_E)
        last_E, before_E = choice_E, last_E
    return torch.stack(choices, dim=1)


def tour_lengths(points_EP2: Tensor, tours_ES: Tensor) -> Tensor:
    """Return the length of each round trip, ``[E]``."""
    walked_ES2 = points_EP2.gather(1, tours_ES.unsqueeze(-1).expand(-1, -1, 2))
    steps_ES2 = walked_ES2 - walked_ES2.roll(1, dims=1)
    lengths_E: Tensor = steps_ES2.square().sum(dim=-1).sqrt().sum(dim=1)
    return lengths_E
