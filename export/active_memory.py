"""Active memory as a graph: the diagonal Neural GPU, whose steps are one ONNX Scan
(``export.diagonal_scan``).

Legend: B batch, C cells, V symbols.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from export.samples import Request
from export.wrappers import Graph
from models.checkpoint import Checkpoint
from models.data.arithmetic import operand_digits, problem
from models.families import build
from server.contract.manifest import AttentionSpec, Signature, TensorSpec
from server.tasks.computing import Operation, lay_out

MOST_COMPARED = 256
"""Cells of the largest problems that are compared with eager torch: work grows with their square."""


class ComputingGraph(nn.Module):
    """A computing network that returns probabilities and how much each cell was rewritten."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, symbols: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``probabilities`` and ``attention``."""
        computed = self.network(symbols)
        return computed.logits_BCV.softmax(dim=-1), computed.activity_BSC


@dataclass(frozen=True)
class Problems:
    """Draws problems of the operation: on symbols in any order a network computes nothing, only noise."""

    operation: Operation
    base: int

    def __call__(self, sizes: Sequence[Mapping[str, int]], rng: np.random.Generator) -> Sequence[Request]:
        """Draw a problem for each size that fills its cells, or all but one."""
        return [{"symbols": self._symbols(own["cells"], rng)[: own["cells"]]} for own in sizes]

    def _symbols(self, cells: int, rng: np.random.Generator) -> NDArray[np.int64]:
        digits = operand_digits(self.operation, cells)
        return lay_out(self.operation, problem(self.operation, self.base, digits, rng).operands, self.base)


def computing_graph(checkpoint: Checkpoint) -> Graph:
    """Wrap a network that takes as many steps as it has cells."""
    symbols = int(checkpoint.config["symbols"])
    signature = Signature(
        inputs=(TensorSpec(name="symbols", datatype="INT64", dims=("batch", "cells")),),
        outputs=(
            TensorSpec(name="probabilities", datatype="FP32", dims=("batch", "cells", symbols)),
            TensorSpec(name="attention", datatype="FP32", dims=("batch", "cells", "cells")),
        ),
        attention=AttentionSpec(
            output="attention", kind="memory_activity", axes=("step", "cell"), normalized_over=None
        ),
    )
    limits = {"cells": min(MOST_COMPARED, checkpoint.limits["max_cells"])}
    draw = Problems(cast(Operation, checkpoint.selector["operation"]), int(checkpoint.selector["base"]))
    return Graph(ComputingGraph(build(checkpoint)).eval(), signature, limits, symbols, draw)
