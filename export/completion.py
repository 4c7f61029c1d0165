"""A language model as a graph: a chunk of words and the state before it in, the next word and state out.

The graph is whole model and step in one, since there is nothing to encode.

Legend: B batch, T words of a chunk, L window, N layers, H hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from export.wrappers import Graph, Graphs
from models.checkpoint import Checkpoint
from models.families import build
from models.pointer_sentinel_lstm import PointerSentinelConfig, PointerSentinelLSTM, State, at
from server.contract.manifest import AttentionSpec, Signature, TensorSpec
from server.contract.tensors import Array, Arrays


class CompletionGraph(nn.Module):
    """A pointer sentinel LSTM that returns the mixture's probabilities after the last word of a chunk."""

    def __init__(self, network: PointerSentinelLSTM) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        words_BT: Tensor,
        hidden_BNH: Tensor,
        cell_BNH: Tensor,
        window_states_BLH: Tensor,
        window_words_BL: Tensor,
    ) -> tuple[Tensor, ...]:
        """Return ``probabilities``, ``attention`` and the four parts of the next state."""
        state = State(hidden_BNH, cell_BNH, window_states_BLH, window_words_BL)
        output = self.network(words_BT, state)
        last_B = (words_BT != 0).long().sum(dim=1) - 1
        attention_BTL1 = output.attention_BTL1.exp()
        last_BL1 = at(attention_BTL1, last_B)
        log_vocabulary_BV = self.network.vocabulary.log_probabilities(at(output.states_BTH, last_B))
        vocabulary_BV = log_vocabulary_BV.exp() * last_BL1[:, -1:]
        # The window that ends at the last word is the window of the next state.
        pointed_BL = (last_BL1[:, :-1] * (output.state.window_words_BL != 0)).to(vocabulary_BV.dtype)
        probabilities_BV = vocabulary_BV.scatter_add(1, output.state.window_words_BL, pointed_BL)
        return probabilities_BV, attention_BTL1, *output.state


def completion_graphs(checkpoint: Checkpoint) -> Graphs:
    """Wrap a language model; its attention is over the window at each word, the sentinel last."""
    config = PointerSentinelConfig(**checkpoint.config)
    layers, hidden, window = config.layers, config.hidden, config.window
    state = (
        ("hidden", "FP32", (layers, hidden)),
        ("cell", "FP32", (layers, hidden)),
        ("window_states", "FP32", (window, hidden)),
        ("window_words", "INT64", (window,)),
    )

    def specs(prefix: str) -> tuple[TensorSpec, ...]:
        return tuple(
            TensorSpec(name=prefix + name, datatype=datatype, dims=("batch", *dims))  # type: ignore[arg-type]
            for name, datatype, dims in state
        )

    words = TensorSpec(name="words", datatype="INT64", dims=("batch", "words"))
    signature = Signature(
        inputs=(words, *specs("")),
        outputs=(
            TensorSpec(name="probabilities", datatype="FP32", dims=("batch", config.vocabulary)),
            TensorSpec(name="attention", datatype="FP32", dims=("batch", "words", window + 1)),
            *specs("next_"),
        ),
        attention=AttentionSpec(
            output="attention",
            kind="pointer_mixture",
            axes=("word", "window"),
            normalized_over="window",
        ),
    )
    network = build(checkpoint)
    assert isinstance(network, PointerSentinelLSTM)
    module = CompletionGraph(network).eval()
    limits = {"words": checkpoint.limits["max_words"]}
    whole = Graph(module, signature, limits, config.vocabulary, Conversations(module, config))
    return Graphs(whole, {"step": whole})


class Conversations:
    """Draws chunks in the middle of a text: the state is one that random words have led to."""

    def __init__(self, module: CompletionGraph, config: PointerSentinelConfig) -> None:
        self._module = module
        self._config = config

    def __call__(self, sizes: Sequence[Mapping[str, int]], rng: np.random.Generator) -> Sequence[Arrays]:
        """Draw one request for each of the given sizes: windows are empty, partly filled or full."""
        return [self._request(own["words"], rng) for own in sizes]

    def _request(self, words: int, rng: np.random.Generator) -> Arrays:
        state = self._module.network.begin(1)
        before = int(rng.integers(0, 2 * self._config.window, endpoint=True))
        if before:
            with torch.inference_mode():
                state = self._module.network(self._words(before, rng), state).state
        arrays: dict[str, Array] = {"words": self._words(words, rng)[0].numpy()}
        names = ("hidden", "cell", "window_states", "window_words")
        return arrays | {name: part[0].numpy() for name, part in zip(names, state, strict=True)}

    def _words(self, count: int, rng: np.random.Generator) -> Tensor:
        return torch.from_numpy(rng.integers(1, self._config.vocabulary, size=(1, count)))
