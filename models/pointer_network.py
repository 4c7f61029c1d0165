"""Pointer networks: a decoder whose every output is a place in the input.

Vinyals, Fortunato, Jaitly, "Pointer Networks", 2015 (arXiv 1506.03134); section and equation numbers below
are that paper's. An LSTM reads the points, another walks from point to point, and at each step the attention
over the points is itself the answer (eq. 3). Deviations, each an option of its own, are named in
``PointerNetworkConfig``.

The input's elements are points, at most one *stop* (where an answer has no fixed length), and padding.
Batch invariance holds by construction: the encoder steps over padding, and padding gets a weight of exactly
zero.

Legend: B batch, P points (the stop included), S steps, H hidden, A attention, K keys, G heads of the glimpse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from models.bidirectional_lstm import BidirectionalLSTM
from models.plane_geometry import FAR_BELOW, PADDING, POINT, SIGHTS, STOP, reading_keys, sights


@dataclass(frozen=True)
class PointerNetworkConfig:
    """The shape of the network, what it points out, and where it departs from the paper.

    ``hidden`` is the width of both LSTMs (half of it in each direction of the encoder, which is
    bidirectional; the paper's reads one way), ``attention`` that of the pointer (eq. 3).
    ``order`` is the one in which the encoder reads the points: as ``given`` (the paper), by ``x``, or by
    ``angle`` counter-clockwise around their centre from the lowest one. The answer begins with, and is
    arranged by, the same order.
    ``layers`` is the depth of the encoder (1 in the paper).
    ``glimpse_heads`` above 0 look at the points once before pointing (Bello et al. 2016, arXiv 1611.09940,
    section 3), with scaled dot products.
    ``geometry`` shows the pointer how each point lies to the last two chosen (``sights``): what the tanh of
    eq. 3 would have to find out from the points' codes.
    """

    task: Literal["convex_hull", "delaunay", "tour"]
    hidden: int = 128
    attention: int = 64
    layers: int = 1
    order: Literal["given", "x", "angle"] = "given"
    glimpse_heads: int = 0
    geometry: bool = False

    def __post_init__(self) -> None:
        """Refuse sizes no network can have."""
        for name, least in {"hidden": 2, "attention": 1, "layers": 1, "glimpse_heads": 0}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.hidden % 2:
            raise ValueError(f"hidden must be even, got {self.hidden}: each direction has a half of it")
        if self.glimpse_heads and self.hidden % self.glimpse_heads:
            raise ValueError(f"glimpse_heads must divide hidden ({self.hidden}), got {self.glimpse_heads}")

    @property
    def keys(self) -> int:
        """Tell how many numbers of each element are the same at every step."""
        return self.attention + (2 * self.hidden if self.glimpse_heads else 0)

    @property
    def stops(self) -> bool:
        """Tell whether an answer ends with the stop; a tour ends when every point was visited."""
        return self.task != "tour"

    @property
    def revisits(self) -> bool:
        """Tell whether an element may be chosen again, as in the triples of a triangulation."""
        return self.task == "delaunay"


class State(NamedTuple):
    """The state of the decoder, float ``[B, H]`` each."""

    hidden: Tensor
    cell: Tensor


class Memory(NamedTuple):
    """What the encoder hands to the decoder."""

    memory_BPH: Tensor
    """The encoded elements, ``e_j`` in the paper."""
    keys_BPK: Tensor
    """What is the same at every step: ``W1 e_j``, then keys and values of the glimpse where there is one."""
    places_BP2: Tensor
    """The points; the stop lies where reading began, so that a hull ends where it would close."""
    first: State


class Pointed(NamedTuple):
    """One step of the decoder."""

    logits_BP: Tensor
    state: State


class Pointer(nn.Module):
    """``u_j = v^T tanh(W1 e_j + W2 d)`` (eq. 3), with geometry as a further input."""

    def __init__(self, hidden: int, attention: int, geometry: bool) -> None:
        super().__init__()
        self.query = nn.Linear(hidden, attention)
        self.sight = nn.Linear(SIGHTS, attention, bias=False) if geometry else None
        self.score = nn.Linear(attention, 1, bias=False)

    def forward(self, keys_BPA: Tensor, query_BSH: Tensor, sights_BSPI: Tensor | None) -> Tensor:
        """Return the logits ``[B, S, P]``."""
        mixed_BSPA = keys_BPA.unsqueeze(1) + self.query(query_BSH).unsqueeze(2)
        if self.sight is not None:
            mixed_BSPA = mixed_BSPA + self.sight(sights_BSPI)
        logits_BSP: Tensor = self.score(torch.tanh(mixed_BSPA)).squeeze(-1)
        return logits_BSP


class Glimpse(nn.Module):
    """One look at the elements that may be chosen: scaled dot products, added to the query."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(hidden, hidden, bias=False)
        self.key_value = nn.Linear(hidden, 2 * hidden, bias=False)
        self.output = nn.Linear(hidden, hidden)

    def forward(self, key_value_BPI: Tensor, query_BSH: Tensor, bias_BSP: Tensor) -> Tensor:
        """Return the query ``[B, S, H]`` with what was seen.

        Args:
            key_value_BPI: ``key_value`` of the encoded elements.
            query_BSH: the decoder's states.
            bias_BSP: 0 on elements that may be looked at, far below it on the others.
        """
        key_BGPh, value_BGPh = (self._split(part) for part in key_value_BPI.chunk(2, dim=-1))
        query_BGSh = self._split(self.query(query_BSH))
        score_BGSP = query_BGSh @ key_BGPh.transpose(-1, -2) / key_BGPh.shape[-1] ** 0.5
        seen_BGSh = torch.softmax(score_BGSP + bias_BSP.unsqueeze(1), dim=-1) @ value_BGPh
        changed_BSH: Tensor = self.output(seen_BGSh.transpose(1, 2).flatten(2))
        return query_BSH + changed_BSH

    def _split(self, x_BSH: Tensor) -> Tensor:
        batch, steps, hidden = x_BSH.shape
        return x_BSH.reshape(batch, steps, self.heads, hidden // self.heads).transpose(1, 2)


class PointerNetwork(nn.Module):
    """Encoder, decoder and pointer."""

    def __init__(self, config: PointerNetworkConfig) -> None:
        super().__init__()
        self.config = config
        hidden = config.hidden
        self.encoder = nn.ModuleList(
            BidirectionalLSTM(hidden if layer else 2, hidden // 2) for layer in range(config.layers)
        )
        self.first_state = nn.Linear(hidden, 2 * hidden)
        self.stop_H = nn.Parameter(0.1 * torch.randn(hidden))
        self.start_H = nn.Parameter(0.1 * torch.randn(hidden))
        self.decoder = nn.LSTM(hidden, hidden, batch_first=True)
        self.keys = nn.Linear(hidden, config.attention, bias=False)
        self.place = nn.Linear(2, hidden, bias=False)
        self.glimpse = Glimpse(hidden, config.glimpse_heads) if config.glimpse_heads else None
        self.pointer = Pointer(hidden, config.attention, config.geometry)

    def encode(self, points: Tensor, kinds: Tensor) -> Memory:
        """Read the points in the network's own order; the memory has the order of the input.

        Args:
            points: float ``[B, P, 2]``, normalised.
            kinds: int64 ``[B, P]``: 1 for a point, 2 for the stop, 0 for padding, which comes last.
        """
        order_BP = reading_keys(points, kinds, self.config.order).argsort(dim=1)
        sorted_BP2 = points.gather(1, order_BP.unsqueeze(-1).expand(-1, -1, 2))
        real_BP = (kinds == POINT).gather(1, order_BP).to(points.dtype)
        states_BPH = sorted_BP2
        for layer in self.encoder:
            states_BPH = layer(states_BPH, 1 - real_BP)
        hidden_BH, cell_BH = self.first_state(_ends(states_BPH, real_BP)).chunk(2, dim=-1)
        back_BPH = order_BP.argsort(dim=1).unsqueeze(-1).expand_as(states_BPH)
        stop_BP1 = (kinds == STOP).unsqueeze(-1)
        places_BP2 = torch.where(stop_BP1, sorted_BP2[:, :1], points)
        memory_BPH = torch.where(stop_BP1, self.stop_H, states_BPH.gather(1, back_BPH)) + self.place(
            places_BP2
        )
        keys_BPK = self.keys(memory_BPH)
        if self.glimpse is not None:
            keys_BPK = torch.cat([keys_BPK, self.glimpse.key_value(memory_BPH)], dim=-1)
        return Memory(memory_BPH, keys_BPK, places_BP2, State(torch.tanh(hidden_BH), cell_BH))

    def step(self, memory: Memory, last: Tensor, before: Tensor, state: State, allowed: Tensor) -> Pointed:
        """Take one step of the decoder.

        Args:
            memory: the encoder's.
            last: int64 ``[B]``, the element chosen last, below 0 at the start.
            before: int64 ``[B]``, the one before.
            state: of the decoder.
            allowed: bool ``[B, P]``, what may be chosen.

        Returns:
            The logits ``[B, P]`` and the next state.
        """
        input_BH = self._chosen(memory, last.unsqueeze(1)).squeeze(1)
        hidden, cell = state
        w_ih, w_hh, b_ih, b_hh = self.decoder.parameters()
        gates_BI = input_BH @ w_ih.T + b_ih + hidden @ w_hh.T + b_hh
        enter_BH, forget_BH, new_BH, leave_BH = gates_BI.chunk(4, dim=-1)
        cell = torch.sigmoid(forget_BH) * cell + torch.sigmoid(enter_BH) * torch.tanh(new_BH)
        hidden = torch.sigmoid(leave_BH) * torch.tanh(cell)
        logits_B1P = self.point(
            memory, last.unsqueeze(1), before.unsqueeze(1), hidden.unsqueeze(1), allowed.unsqueeze(1)
        )
        return Pointed(logits_B1P.squeeze(1), State(hidden, cell))

    def _chosen(self, memory: Memory, chosen_BS: Tensor) -> Tensor:
        """Return the memory of chosen elements ``[B, S, H]``, or what stands for the start."""
        at_BSH = chosen_BS.clamp(min=0).unsqueeze(-1).expand(-1, -1, self.config.hidden)
        return torch.where((chosen_BS < 0).unsqueeze(-1), self.start_H, memory.memory_BPH.gather(1, at_BSH))

    def point(
        self,
        memory: Memory,
        last_BS: Tensor,
        before_BS: Tensor,
        state_BSH: Tensor,
        allowed_BSP: Tensor,
    ) -> Tensor:
        """Return the logits ``[B, S, P]`` of steps whose states are known, far below where not allowed."""
        bias_BSP = FAR_BELOW * (~allowed_BSP).to(state_BSH.dtype)
        keys_BPA = memory.keys_BPK
        if self.glimpse is not None:
            state_BSH = self.glimpse(keys_BPA[..., self.config.attention :], state_BSH, bias_BSP)
            keys_BPA = keys_BPA[..., : self.config.attention]
        sights_BSPI = sights(memory.places_BP2, last_BS, before_BS) if self.config.geometry else None
        logits_BSP: Tensor = self.pointer(keys_BPA, state_BSH, sights_BSPI)
        return logits_BSP + bias_BSP

    def forward(self, points: Tensor, kinds: Tensor, targets: Tensor) -> Tensor:
        """Follow known answers (teacher forcing): all states in one pass, all pointers in one product.

        Args:
            points: float ``[B, P, 2]``, normalised.
            kinds: int64 ``[B, P]``.
            targets: int64 ``[B, S]``, elements; below 0 after the end of an answer.

        Returns:
            The logits ``[B, S, P]`` of the element chosen at each step.
        """
        memory = self.encode(points, kinds)
        before_BS, last_BS = (_delayed(targets, steps) for steps in (2, 1))
        first = tuple(part.unsqueeze(0).contiguous() for part in memory.first)
        state_BSH, _ = self.decoder(self._chosen(memory, last_BS), first)
        return self.point(memory, last_BS, before_BS, state_BSH, self.allowed(kinds, targets))

    def allowed(self, kinds: Tensor, targets: Tensor) -> Tensor:
        """Return what may be chosen at each step of known answers, bool ``[B, S, P]``."""
        real_B1P = (kinds != PADDING).unsqueeze(1)
        if self.config.revisits:
            return real_B1P.expand(-1, targets.shape[1], -1)
        chosen_BSP = nn.functional.one_hot(targets.clamp(min=0), kinds.shape[1])
        visited_BSP = chosen_BSP.cumsum(dim=1) - chosen_BSP
        return real_B1P & (visited_BSP == 0)


def _delayed(targets_BS: Tensor, steps: int) -> Tensor:
    """Return what was chosen so many steps ago, ``[B, S]``; -1 where there was nothing."""
    return nn.functional.pad(targets_BS.clamp(min=0), (steps, 0), value=-1)[:, : targets_BS.shape[1]]


def _ends(states_BPH: Tensor, real_BP: Tensor) -> Tensor:
    """Return the forward state after the last point and the backward state after the first, ``[B, H]``."""
    forward_BPh, backward_BPh = states_BPH.chunk(2, dim=-1)
    is_last_BP = real_BP.cumsum(dim=1) == real_BP.sum(dim=1, keepdim=True)
    last_BP1 = (real_BP * is_last_BP.to(real_BP.dtype)).unsqueeze(-1)
    return torch.cat([(forward_BPh * last_BP1).sum(dim=1), backward_BPh[:, 0]], dim=-1)
