"""What every translation network offers, and how one translates in eager torch: greedily or by a beam.

The server walks through exported graphs by the same rules; this is what they are compared with.

Legend: B batch, S source pieces, T target pieces, E embedding, V target vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from server.contract.subwords import END_ID, PAD_ID, START_ID

FAR_BELOW = -1e9
"""The logit of what cannot be spoken: finite, so that no row can become NaN."""

Ids = NDArray[np.int64]
State = tuple[Tensor, ...]
Memory = Any
"""A named tuple of tensors with the batch first."""


class Translator(Protocol):
    """A network that reads a source once and then writes piece by piece; ``encode`` fixes what it reads."""

    def encode(self, source_BS: Tensor) -> tuple[Memory, State]:
        """Return the memory, the same at every step, and the first state."""
        ...

    def decode(self, target_BT: Tensor, state: State, memory: Memory) -> tuple[Tensor, Tensor, State]:
        """Return readouts ``[B, T, E]``, where the network looked ``[B, T, S]``, and the next state."""
        ...

    def logits(self, readout: Tensor) -> Tensor:
        """Return the logits of the next piece ``[..., V]``."""
        ...

    def most(self, source_pieces: int) -> int:
        """Return the largest number of pieces, without the end, of the translation of so many pieces."""
        ...


@dataclass(frozen=True)
class SearchOptions:
    """How to look for a translation.

    ``beam`` hypotheses are kept (1 = greedy). Finished ones are compared by their log-probability over their
    number of pieces, the end included, to the power of ``length_power``.
    """

    beam: int = 1
    length_power: float = 1.0


@dataclass(frozen=True)
class Found:
    """A translation: pieces without the end, whether it ended by itself, log-probability over length."""

    ids: Ids
    ended: bool
    score: float


def log_probabilities(network: Translator, readout: Tensor) -> Tensor:
    """Return the log-probabilities of the next piece ``[..., V]``; padding, unknown and start are none."""
    logits = network.logits(readout)
    spoken_V = torch.arange(logits.shape[-1], device=logits.device) >= END_ID
    return logits.masked_fill(~spoken_V, FAR_BELOW).log_softmax(dim=-1)


def padded(rows: Sequence[Ids]) -> Tensor:
    """Return right-padded ids ``[B, longest]``."""
    longest = max(map(len, rows))
    return torch.from_numpy(
        np.stack([np.pad(row, (0, longest - len(row)), constant_values=PAD_ID) for row in rows])
    )


@torch.inference_mode()
def translate(
    network: Translator, sources: Sequence[Ids], options: SearchOptions, device: str = "cpu"
) -> list[Found]:
    """Translate a batch of sources, each as if it were alone.

    Args:
        network: in evaluation mode.
        sources: pieces of each source, the end mark included where the network was taught with one.
        options: how to search.
        device: where the network is.
    """
    source_BS = padded(sources).to(device)
    most = [network.most(len(source)) for source in sources]
    if options.beam == 1:
        return _greedy(network, source_BS, most, options)
    return [
        _beam(network, source_BS[row : row + 1, : len(source)], most[row], options)
        for row, source in enumerate(sources)
    ]


def _greedy(network: Translator, source_BS: Tensor, most: list[int], options: SearchOptions) -> list[Found]:
    memory, state = network.encode(source_BS)
    last_B = torch.full((len(source_BS),), START_ID, device=source_BS.device)
    pieces, scores = [], []
    open_B = torch.ones_like(last_B, dtype=torch.bool)
    for _ in range(max(most) + 1):
        readout_B1E, _, state = network.decode(last_B.unsqueeze(1), state, memory)
        score_B, last_B = log_probabilities(network, readout_B1E[:, 0]).max(dim=-1)
        pieces.append(last_B)
        scores.append(score_B)
        open_B &= last_B != END_ID
        if not open_B.any():
            break
    piece_BT, score_BT = torch.stack(pieces, dim=1).cpu().numpy(), torch.stack(scores, dim=1).cpu().numpy()
    found = []
    for row, limit in enumerate(most):
        ends = np.flatnonzero(piece_BT[row, : limit + 1] == END_ID)
        length = int(ends[0]) if len(ends) else limit
        spoken = score_BT[row, : length + len(ends[:1])]
        said = piece_BT[row, :length].tolist()
        found.append(_found(said, float(spoken.sum()), options, ended=len(ends) > 0))
    return found


def _beam(network: Translator, source_1S: Tensor, most: int, options: SearchOptions) -> Found:
    """Keep the best hypotheses until as many have ended as are kept, or the limit is reached."""
    memory, state = network.encode(source_1S)
    pieces: list[list[int]] = [[]]
    totals = [0.0]
    ended: list[Found] = []
    for step in range(most + 1):
        last_N = torch.tensor([(one or [START_ID])[-1] for one in pieces], device=source_1S.device)
        of_all = type(memory)(*(part.expand(len(pieces), *part.shape[1:]) for part in memory))
        readout_N1E, _, state = network.decode(last_N.unsqueeze(1), state, of_all)
        log_p_NV = log_probabilities(network, readout_N1E[:, 0])
        so_far_N1 = torch.tensor(totals, device=source_1S.device).unsqueeze(1)
        best = (so_far_N1 + log_p_NV).flatten().topk(2 * options.beam)
        grown: list[tuple[int, float, list[int]]] = []
        for rank, place in enumerate(best.indices.tolist()):
            row, piece = divmod(place, log_p_NV.shape[1])
            total = float(best.values[rank])
            if piece != END_ID and len(grown) < options.beam:
                grown.append((row, total, [*pieces[row], piece]))
            elif piece == END_ID and rank < options.beam:
                ended.append(_found(pieces[row], total, options, ended=True))
        if len(ended) >= options.beam or step == most:
            break
        rows = [row for row, _, _ in grown]
        totals, pieces = [total for _, total, _ in grown], [said for _, _, said in grown]
        state = tuple(part[rows] for part in state)
    return max(ended or [_found(pieces[0], totals[0], options, ended=False)], key=lambda one: one.score)


def _found(pieces: list[int], total: float, options: SearchOptions, *, ended: bool) -> Found:
    length = max(1, len(pieces) + ended)
    return Found(np.array(pieces, dtype=np.int64), ended, total / length**options.length_power)
