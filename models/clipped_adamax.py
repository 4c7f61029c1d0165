"""AdaMax as the authors of the diagonal Neural GPU use it: every entry clipped by its own past, and noise."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer


class ClippedAdamax(Optimizer):
    """AdaMax (Kingma and Ba 2015) with three additions of Freivalds and Liepins (2017).

    An entry of a gradient is clipped at ``clip`` times the largest lately seen there: one wild batch cannot
    undo a network that computes without an error. What is lately seen is forgotten ever more slowly: the rate
    halves every ``half_life`` steps from ``forgets`` down to ``forgets_least``. And gradients get noise of
    ``noise`` times the learning rate, which matters once there is nothing left to learn from mistakes.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-2,
        weight_decay: float = 0.0,
        *,
        clip: float = 1.2,
        forgets: float = 1e-2,
        forgets_least: float = 5e-4,
        half_life: float = 2000.0,
        noise: float = 1e-4,
    ) -> None:
        defaults = {"lr": lr, "weight_decay": weight_decay, "clip": clip, "noise": noise}
        defaults |= {"forgets": forgets, "forgets_least": forgets_least, "half_life": half_life}
        super().__init__(params, defaults)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step along the gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weights in group["params"]:
                if weights.grad is not None:
                    self._move(weights, weights.grad, group)
        return loss

    def _move(self, weights: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state, rate = self.state[weights], group["lr"]
        if not state:
            state.update(step=0, mean=torch.zeros_like(weights), largest=torch.zeros_like(weights))
        mean, largest = state["mean"], state["largest"]
        forgets = max(group["forgets_least"], group["forgets"] * 0.5 ** (state["step"] / group["half_life"]))
        noise = torch.randn_like(gradient).clamp_(-2, 2)
        limit = group["clip"] * largest + 1e-4
        clipped = (gradient + group["noise"] * rate * noise).clamp(-limit, limit)
        mean.mul_(0.9).add_(clipped, alpha=0.1)
        torch.maximum(largest * (1 - forgets), clipped.abs(), out=largest)
        weights.mul_(1 - rate * group["weight_decay"]).sub_(rate * mean / (largest + 1e-8))
        state["step"] += 1
