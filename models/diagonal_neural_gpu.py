"""Diagonal Neural GPU: a memory that rewrites itself once for every cell it has (Freivalds, Liepins 2017).

The whole memory is active: each step convolves it with itself, and a part of it moves a cell to the left or
to the right. There is no attention; what can be shown is how much each cell was rewritten in each step.

Legend: B batch, C cells, M maps, S steps, V symbols. A request of C symbols takes C steps.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, linear, pad

from models.fast_steps import fast_steps

PAD = 0
"""The symbol of a cell that holds nothing."""


@dataclass(frozen=True)
class DiagonalNeuralGPUConfig:
    """Shape and regularisation.

    ``symbols`` counts the alphabet with padding, ``maps`` the channels of a cell; a third of them moves to
    the left in each step, a third to the right. ``dropout`` drops inputs and candidates while training.
    Logits beyond ``saturation`` cost something.
    """

    symbols: int
    maps: int = 48
    dropout: float = 0.1
    saturation: float = 0.9

    def __post_init__(self) -> None:
        """Refuse sizes that no network has."""
        for name, least in {"symbols": 2, "maps": 3}.items():
            if getattr(self, name) < least:
                raise ValueError(f"network.{name} must be at least {least}, got {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"network.dropout must be from 0 to below 1, got {self.dropout}")


class Computed(NamedTuple):
    """What is left in the end: ``logits_BCV``, ``activity_BSC`` (0..1) and the excess of logits.

    ``saturation`` is what the logits of all maps of a cell exceed their limit by in a step, on average.
    """

    logits_BCV: Tensor
    activity_BSC: Tensor
    saturation: Tensor


def neighbours(state_BCM: Tensor) -> Tensor:
    """Put each cell between its left and right neighbour, ``[B, C, 3M]``; beyond the ends lies zero."""
    left_BCM = pad(state_BCM, [0, 0, 1, 0])[:, :-1]
    right_BCM = pad(state_BCM, [0, 0, 0, 1])[:, 1:]
    return torch.cat([left_BCM, state_BCM, right_BCM], dim=-1)


def hard_sigmoid(logits: Tensor) -> Tensor:
    """Return ``clip(x / 2 + 1 / 2, 0, 1)`` (equation 7): gates close and open completely."""
    return (0.5 * logits + 0.5).clamp(0.0, 1.0)


def diagonally_shifted(state_BCM: Tensor) -> Tensor:
    """Move the second third of the maps one cell to the right, the last third one cell to the left."""
    maps = state_BCM.shape[-1]
    third = maps // 3
    right_BCM = pad(state_BCM[:, :, maps - 2 * third : maps - third], [0, 0, 1, 0])[:, :-1]
    left_BCM = pad(state_BCM[:, :, maps - third :], [0, 0, 0, 1])[:, 1:]
    return torch.cat([state_BCM[:, :, : maps - 2 * third], right_BCM, left_BCM], dim=-1)


def run_steps(state_BCM: Tensor, inside_BC1: Tensor, weights: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Take as many steps as each request has cells; then its memory is frozen.

    Args:
        state_BCM: the first memory.
        inside_BC1: 1 for cells of the request, 0 for padding, of the memory's type.
        weights: those of reset and update gate, ``[2M, 3M]``, their biases, ``[2M]``, and weights ``[M, 3M]``
            and biases ``[M]`` of the candidate.

    Returns:
        The last memory, and how much each cell was rewritten in each step, ``[S, B, C]`` in 0..1: one minus
        the mean update gate; 0 in padding and once frozen.
    """
    w_gates, b_gates, w_candidate, b_candidate = weights
    lengths_B11 = inside_BC1.sum(dim=1, keepdim=True)
    maps = state_BCM.shape[-1]
    activities: list[Tensor] = []
    for step in range(state_BCM.shape[1]):
        writable_BC1 = inside_BC1 * (lengths_B11 > step).to(state_BCM.dtype)
        gates_BC2M = hard_sigmoid(linear(neighbours(state_BCM), w_gates, b_gates))
        reset_BCM, update_BCM = gates_BC2M[:, :, :maps], gates_BC2M[:, :, maps:]
        candidate_BCM = linear(neighbours(reset_BCM * state_BCM), w_candidate, b_candidate).clamp(-1.0, 1.0)
        next_BCM = update_BCM * diagonally_shifted(state_BCM) + (1 - update_BCM) * candidate_BCM
        state_BCM = torch.where(writable_BC1 > 0, next_BCM, state_BCM)
        activities.append((writable_BC1 * (1 - update_BCM.mean(dim=-1, keepdim=True))).squeeze(-1))
    return state_BCM, torch.stack(activities)


@torch.library.custom_op("engram::diagonal_neural_gpu", mutates_args=())
def steps_op(  # noqa: D103 - documented on run_steps()
    state_BCM: Tensor, inside_BC1: Tensor, weights: list[Tensor]
) -> tuple[Tensor, Tensor]:
    return run_steps(state_BCM, inside_BC1, weights)


@steps_op.register_fake
def _(state_BCM: Tensor, inside_BC1: Tensor, weights: list[Tensor]) -> tuple[Tensor, Tensor]:
    batch, cells, _ = state_BCM.shape
    return torch.empty_like(state_BCM), state_BCM.new_empty(cells, batch, cells)


@cache
def _scripted() -> Callable[..., tuple[Tensor, Tensor]]:
    """Compile the loop for TorchScript: a trace would freeze the number of steps."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted: Callable[..., tuple[Tensor, Tensor]] = torch.jit.script(run_steps)
    return scripted


def steps(state_BCM: Tensor, inside_BC1: Tensor, weights: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Call ``run_steps`` in the form that fits: eager, exported as one operator, or traced as a loop."""
    if torch.compiler.is_exporting():
        exported: tuple[Tensor, Tensor] = steps_op(state_BCM, inside_BC1, weights)
        return exported
    traced = torch._C._get_tracing_state() is not None  # what torch.jit.is_tracing asks
    loop = _scripted() if traced else run_steps
    return loop(state_BCM, inside_BC1, weights)


class DiagonalCGRU(nn.Module):
    """A convolutional GRU whose carry is shifted diagonally (section 3, equations 2-6).

    The kernel is three cells wide. A padded cell is zero before and after, so it never speaks to others.
    """

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.maps = maps
        self.fast = False  # whether to train in C++ (models.fast_steps), which is for CPUs
        self.gates = nn.Linear(3 * maps, 2 * maps)  # reset, update
        self.candidate = nn.Linear(3 * maps, maps)
        for layer in (self.gates, self.candidate):
            nn.init.uniform_(layer.weight, -(maps**-0.5), maps**-0.5)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.gates.bias[:maps] = 0.5
            self.gates.bias[maps:] = 0.7

    def forward(self, state_BCM: Tensor, inside_BC1: Tensor) -> tuple[Tensor, Tensor]:
        """Return the last memory and the activity ``[S, B, C]``, as ``run_steps`` does."""
        gates, candidate = self.gates, self.candidate
        weights = [gates.weight, gates.bias, candidate.weight, candidate.bias]
        return steps(state_BCM, inside_BC1, weights)

    def train_steps(self, state_BCM: Tensor, config: DiagonalNeuralGPUConfig) -> tuple[Tensor, Tensor]:
        """Take as many steps as there are cells, with dropout; every request of the batch has this size.

        Returns:
            The last memory, and the sum of what all logits exceed ``config.saturation`` by.
        """
        if self.fast:
            gates, candidate = self.gates, self.candidate
            weights = [gates.weight, gates.bias, candidate.weight, candidate.bias]
            return fast_steps(state_BCM, weights, config.saturation, config.dropout)
        excess = state_BCM.new_zeros(())
        for _ in range(state_BCM.shape[1]):
            state_BCM, *logits = self.train_step(state_BCM, config.dropout)
            excess = excess + sum((one.abs() - config.saturation).clamp(min=0).sum() for one in logits)
        return state_BCM, excess

    def train_step(self, state_BCM: Tensor, dropped: float) -> tuple[Tensor, Tensor, Tensor]:
        """Take one step with dropout on the candidate.

        Returns:
            The next memory, and the logits of the gates, ``[B, C, 2M]``, and of the candidate, ``[B, C, M]``.
        """
        gates_BC2M = self.gates(neighbours(state_BCM))
        reset_BCM, update_BCM = hard_sigmoid(gates_BC2M).chunk(2, dim=-1)
        candidate_BCM = self.candidate(neighbours(reset_BCM * state_BCM))
        written_BCM = dropout(candidate_BCM.clamp(-1, 1), dropped)
        next_BCM = update_BCM * diagonally_shifted(state_BCM) + (1 - update_BCM) * written_BCM
        return next_BCM, gates_BC2M, candidate_BCM


class DiagonalNeuralGPU(nn.Module):
    """Symbols in, symbols out, as many steps as symbols; all outputs are read at once."""

    def __init__(self, config: DiagonalNeuralGPUConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Parameter(torch.empty(config.symbols, config.maps))
        self.step = DiagonalCGRU(config.maps)
        self.output = nn.Linear(config.maps, config.symbols)
        nn.init.xavier_uniform_(self.embedding)
        nn.init.xavier_uniform_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, symbols_BC: Tensor) -> Computed:
        """Compute. Each request takes as many steps as it has symbols, whatever the batch holds.

        While training, a batch is of requests of one size, and ``activity_BSC`` is empty.

        Args:
            symbols_BC: int64, symbols from the left, then 0.
        """
        inside_BC1 = (symbols_BC != PAD).unsqueeze(-1).to(self.embedding.dtype)
        state_BCM = self.embedding[symbols_BC].clamp(-1.0, 1.0) * inside_BC1
        if self.training:
            return self._train(state_BCM)
        state_BCM, activity_SBC = self.step(state_BCM, inside_BC1)
        return Computed(self.output(state_BCM), activity_SBC.transpose(0, 1), state_BCM.new_zeros(()))

    def _train(self, state_BCM: Tensor) -> Computed:
        batch, cells, _ = state_BCM.shape
        state_BCM = dropout(state_BCM, self.config.dropout)
        state_BCM, excess = self.step.train_steps(state_BCM, self.config)
        return Computed(self.output(state_BCM), state_BCM.new_zeros(0), excess / (batch * cells * cells))
