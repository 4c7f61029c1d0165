"""The table of model families. A new family for a known task is one file in ``models/`` and one line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from models.attention_gru import AttentionGRU, AttentionGRUConfig
from models.attention_sum_reader import AttentionSumReader, AttentionSumReaderConfig
from models.checkpoint import Checkpoint
from models.diagonal_neural_gpu import DiagonalNeuralGPU, DiagonalNeuralGPUConfig
from models.dmn_plus import DMNPlus, DMNPlusConfig
from models.extended_neural_gpu import ExtendedNeuralGPU, ExtendedNeuralGPUConfig
from models.pointer_network import PointerNetwork, PointerNetworkConfig
from models.pointer_sentinel_lstm import PointerSentinelConfig, PointerSentinelLSTM

OF_LOG_PROBABILITIES = 1e-4
"""The tolerance where an output is a log-probability: numbers of ten and more, which float32 rounds coarser
than a probability."""


@dataclass(frozen=True)
class Family:
    """An architecture: its task, its source, and how a network is built from a configuration.

    ``tolerance`` is the largest absolute difference allowed between eager torch and an exported graph, on
    every output.
    """

    name: str
    task: str
    title: str
    paper: str
    config: type
    network: Callable[[Any], nn.Module]
    tolerance: float = 1e-5


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            "dmn_plus", "qa", "DMN+", "Xiong, Merity, Socher 2016, arXiv 1603.01417", DMNPlusConfig, DMNPlus
        ),
        Family(
            "diagonal_neural_gpu",
            "compute",
            "Diagonal Neural GPU",
            "Freivalds, Liepins 2017, arXiv 1702.08727",
            DiagonalNeuralGPUConfig,
            DiagonalNeuralGPU,
        ),
        Family(
            "pointer_network",
            "point",
            "Pointer network",
            "Vinyals, Fortunato, Jaitly 2015, arXiv 1506.03134",
            PointerNetworkConfig,
            PointerNetwork,
        ),
        Family(
            "pointer_sentinel_lstm",
            "complete",
            "Pointer sentinel LSTM",
            "Merity, Xiong, Bradbury, Socher 2016, arXiv 1609.07843",
            PointerSentinelConfig,
            PointerSentinelLSTM,
        ),
        Family(
            "attention_sum_reader",
            "read",
            "Attention-sum reader",
            "Kadlec, Schmid, Bajgar, Kleindienst 2016, arXiv 1603.01547",
            AttentionSumReaderConfig,
            AttentionSumReader,
        ),
        Family(
            "attention_gru",
            "translate",
            "GRU with attention",
            "Bahdanau, Cho, Bengio 2015, arXiv 1409.0473",
            AttentionGRUConfig,
            AttentionGRU,
            tolerance=OF_LOG_PROBABILITIES,
        ),
        Family(
            "extended_neural_gpu",
            "translate",
            "Extended Neural GPU",
            "Kaiser, Bengio 2016, arXiv 1610.08613",
            ExtendedNeuralGPUConfig,
            ExtendedNeuralGPU,
            tolerance=OF_LOG_PROBABILITIES,
        ),
    )
}


def build(checkpoint: Checkpoint) -> nn.Module:
    """Build the network of a checkpoint, with its weights, in evaluation mode.

    Raises:
        ValueError: the family is unknown here.
    """
    family = FAMILIES.get(checkpoint.family)
    if family is None:
        raise ValueError(f"unknown family {checkpoint.family!r}; known: {', '.join(FAMILIES)}")
    network = family.network(family.config(**checkpoint.config))
    network.load_state_dict(checkpoint.weights)
    return network.eval()
