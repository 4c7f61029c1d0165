"""The canvas of the Extended Neural GPU: its shape, what it is, and the unit that rewrites it.

Legend: B batch, N columns of the canvas, C cells of a column, M maps, X what a decoder is reminded of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor

from models.convolutional_gru import CGRU


@dataclass(frozen=True)
class ExtendedNeuralGPUConfig:
    """The shape of the network; the paper's own has width 4, kernel 3 x 3, two layers and 512 maps.

    ``maps``: numbers a cell holds; ``width``: cells of a column, of which the first is read and written.
    ``kernel`` columns by ``kernel_width`` cells are seen by a convolution. ``encoder_layers`` and
    ``decoder_layers`` CGRUs make a step. ``steps`` the encoder takes; 0 is one for each column, as in the
    paper, and a row rests after its own. A source has ``columns`` columns for each of its pieces; it is
    written on the first of them, and its translation has as many pieces at most.
    ``form``: ``plain``, ``markovian`` or ``extended``.
    ``read``: what is spoken next is read from ``column`` t, as in the paper, or is the smooth ``maximum`` of
    every map over all cells (``models.listening_canvas``, which says what else differs; it has no tape).
    ``decoder_kernel`` columns are then seen by a cell, besides what ``diagonal`` carries to it.
    ``behind`` and ``ahead``: how many columns around the one being spoken a decoder that reads it rewrites.
    ``ahead`` of 0 is the whole canvas, as in the paper; a window makes the cost linear in the length.
    ``diagonal``: every step carries a third of the maps one column to the right, and a third to the left
    (Freivalds and Liepins 2017, arXiv 1702.08727). In the decoder, whose place moves right by one a step, the
    first third travels with it: what a GRU calls its state.
    ``gate_cutoff`` c lets gates close wholly: ``clip((1 + 2c) sigmoid(x) - c, 0, 1)`` (c = 0.1 in Kaiser and
    Sutskever 2016, arXiv 1511.08228). ``relaxation``: that many sets of weights, which
    the encoder's steps use in turn.
    ``shared_embedding`` and the dropouts are as in the attention GRU; ``dropout`` acts on what the encoder
    newly writes to the canvas, with one mask for all steps.
    """

    source_vocabulary: int
    target_vocabulary: int
    embedding: int = 192
    maps: int = 192
    width: int = 1
    kernel: int = 3
    kernel_width: int = 1
    encoder_layers: int = 1
    decoder_layers: int = 1
    steps: int = 8
    columns: int = 2
    form: Literal["plain", "markovian", "extended"] = "extended"
    read: Literal["column", "maximum"] = "column"
    decoder_kernel: int = 1
    behind: int = 2
    ahead: int = 6
    diagonal: bool = True
    gate_cutoff: float = 0.0
    relaxation: int = 1
    shared_embedding: bool = True
    dropout: float = 0.05
    embedding_dropout: float = 0.1
    readout_dropout: float = 0.2

    def __post_init__(self) -> None:
        """Refuse sizes no network can have."""
        least = dict.fromkeys(
            ("source_vocabulary", "target_vocabulary", "embedding", "maps", "width", "kernel", "kernel_width",
             "encoder_layers", "decoder_layers", "relaxation", "columns", "decoder_kernel"), 1,
        ) | {"steps": 0, "behind": 0, "ahead": 0, "gate_cutoff": 0}  # fmt: skip
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"{name} must be at least {bound}, got {getattr(self, name)}")
        if self.form not in ("plain", "markovian", "extended"):
            raise ValueError(f"form must be 'plain', 'markovian' or 'extended', got {self.form!r}")
        if self.read not in ("column", "maximum"):
            raise ValueError(f"read must be 'column' or 'maximum', got {self.read!r}")
        if self.read == "maximum" and self.form != "extended":
            raise ValueError(f"read 'maximum' is of the extended form, not of the {self.form} one")
        if any(kernel % 2 == 0 for kernel in (self.kernel, self.kernel_width, self.decoder_kernel)):
            raise ValueError("kernel and kernel_width must be odd: a cell is the centre of what it sees")
        if self.shared_embedding and self.source_vocabulary != self.target_vocabulary:
            raise ValueError("shared_embedding needs one vocabulary for both languages")


class Canvas(NamedTuple):
    """What the encoder made of the source; a decoder begins with it and does not change it."""

    cells_BNCM: Tensor
    real_BN: Tensor
    """1.0 on a row's own columns, 0.0 beyond."""
    activity_BN: Tensor
    """How much the last step of the encoder changed each column."""
    reminder_BNCX: Tensor
    """What every step of the decoder is told of each cell; nothing (X = 0) where it is told nothing."""


State = tuple[Tensor, ...]
"""What goes from one step of a decoder to the next; the batch is the first axis of each."""


def cgru(config: ExtendedNeuralGPUConfig, sets: int = 1) -> CGRU:
    """Make the unit that rewrites a canvas, with so many sets of weights."""
    return CGRU(
        config.maps,
        config.kernel,
        config.kernel_width,
        diagonal=config.diagonal,
        cutoff=config.gate_cutoff,
        sets=sets,
    )
