"""How language models learn: streams of text read in chunks, the mixture's loss and the pointer's own.

Used for every family whose task is ``complete``. The state at the end of a chunk is where the next one
begins, so a window always carries real history.

Legend: B streams side by side, T words of a chunk.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.checkpoint import Checkpoint
from models.data.language import Corpus
from models.data.running_text import by_frequency, tokenizer
from models.families import FAMILIES
from models.pointer_sentinel_lstm import (
    PointerSentinelConfig,
    PointerSentinelLSTM,
    PointerSentinelOutput,
    State,
    pointed_at,
)
from models.presets import options_from
from models.recipe import Evaluation
from server.contract.text import UNKNOWN_ID

RESERVED = 2
"""Ids before the first word: padding and the unknown word."""

END_OF_LINE_ID = RESERVED
"""``by_frequency`` puts the end of a line first."""

EVALUATION_CHUNK = 100
EVALUATION_STREAMS = 16
LONG = 1_000
"""Validation text is read in so many streams during training, fewer where they were no such length; a result
is measured in one."""


@dataclass(frozen=True)
class CompletionOptions:
    """What is learnt, and how.

    ``streams`` pieces of the text are read side by side, ``chunk`` words at a time (k1 of truncated
    back-propagation). ``history`` further chunks before each are read again with their gradients, so that
    back-propagation reaches k2 = (1 + history) k1 words; the loss counts the last chunk only. With 0 the
    states in the window are the former chunk's, taken as constants.
    ``pointer_loss`` weighs the pointer's own loss, -log(g + attention on the word), against the mixture's.
    ``precision`` ``bfloat16`` computes products and recurrences in that type while training, with float32
    weights and softmaxes.
    ``serve_max_text_words`` and ``serve_max_words`` are the limits a bundle of this network will state: words
    of a text and of its completion together, and words that a step takes at once.
    """

    streams: int = 32
    chunk: int = 50
    history: int = 0
    pointer_loss: float = 1.0
    precision: Literal["float32", "bfloat16"] = "float32"
    serve_max_text_words: int = 1024
    serve_max_words: int = 32

    def __post_init__(self) -> None:
        """Refuse sizes that nothing can be read with."""
        least_of = {"streams": 1, "chunk": 1, "history": 0, "serve_max_text_words": 2, "serve_max_words": 1}
        for name, least in least_of.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")


@dataclass(frozen=True)
class Chunk:
    """The words of one step: ``history`` chunks first, then the one that counts, and its next words."""

    pieces: tuple[Tensor, ...]
    next_BT: Tensor
    begins: bool
    """Whether the streams begin here, with an empty state."""


@dataclass
class CompletionRecipe:
    """Training of a language model on a corpus (a ``models.recipe.Recipe``).

    ``shape`` are fields of the family's configuration; the vocabulary is that of the training words.
    """

    family: str
    corpus: Corpus
    options: CompletionOptions
    shape: dict[str, Any]
    at_least: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Give every word its id.

        Raises:
            ValueError: a field of ``shape`` is wrong, or there is too little text for the streams.
        """
        self.words = by_frequency(self.corpus.train, self.at_least)
        self.tokenizer = tokenizer(self.words, self.corpus.style)
        self.train_ids = ids_of(self.corpus.train, self.words)
        self.valid_ids = ids_of(self.corpus.valid, self.words)
        sizes = {"vocabulary": len(self.words) + RESERVED}
        self.config: PointerSentinelConfig = options_from(
            FAMILIES[self.family].config, "network", self.shape, **sizes
        )
        self.carried: State | None = None
        least = self.options.streams * (self.options.chunk + 1)
        if len(self.train_ids) < least:
            raise ValueError(
                f"the text has {len(self.train_ids)} words; learning.streams = {self.options.streams} of "
                f"learning.chunk = {self.options.chunk} words need {least}"
            )

    def network(self) -> nn.Module:
        """Build the network."""
        return FAMILIES[self.family].network(self.config)

    def batches(self, epoch: int, epochs: int, rng: np.random.Generator) -> tuple[int, Iterable[Chunk]]:
        """Cut the text into streams, beginning at a place that ``rng`` draws, so that chunks differ by epoch.

        Args:
            epoch: from 0.
            epochs: how many there will be.
            rng: decides where the text is cut.

        Returns:
            The number of words that will be predicted, and the chunks in order.
        """
        rolled = np.roll(self.train_ids, -int(rng.integers(len(self.train_ids))))
        streams_BS = in_streams(rolled, self.options.streams)
        return streams_BS.shape[0] * (streams_BS.shape[1] - 1), self._chunks(streams_BS)

    def _chunks(self, streams_BS: Tensor) -> Iterator[Chunk]:
        pieces: tuple[Tensor, ...] = ()
        for words_BT, next_BT in chunks(streams_BS.to(self.device), self.options.chunk):
            begins, pieces = not pieces, (*pieces, words_BT)[-1 - self.options.history :]
            yield Chunk(pieces, next_BT, begins)

    def loss(self, network: nn.Module, batch: Chunk) -> tuple[Tensor, int]:
        """Return the mean loss of the counted chunk's next words, and their number.

        The state that is kept is the one after the first piece, where the next step begins.
        """
        assert isinstance(network, PointerSentinelLSTM)
        if batch.begins or self.carried is None:
            self.carried = network.begin(len(batch.next_BT))
        with self._precision():
            outputs = [network(batch.pieces[0], self.carried, padded=False)]
            for words_BT in batch.pieces[1:]:
                outputs.append(network(words_BT, outputs[-1].state, padded=False))
            loss = -network.log_probability(outputs[-1], batch.next_BT).mean()
        if network.pointer is not None and self.options.pointer_loss > 0:
            loss = loss + self.options.pointer_loss * pointer_loss(outputs[-1], batch.next_BT)
        if len(batch.pieces) > self.options.history:
            self.carried = outputs[0].state.detached()
        return loss, batch.next_BT.numel()

    def _precision(self) -> AbstractContextManager[Any]:
        if self.options.precision == "float32":
            return nullcontext()
        return torch.autocast(torch.device(self.device).type, torch.bfloat16)

    def evaluate(self, network: nn.Module) -> Evaluation:
        """Measure the perplexity of the validation text.

        ``error`` is what the geometric mean of the probabilities leaves to 100 %.
        """
        assert isinstance(network, PointerSentinelLSTM)
        streams = min(EVALUATION_STREAMS, 1 + len(self.valid_ids) // LONG)
        scores = score(network, self.valid_ids, streams, self.device)
        loss = -float(scores.log_probability.mean())
        extra = {"perplexity": math.exp(loss), "gate": float(scores.gate.mean())}
        return Evaluation(loss=loss, error=100 * (1 - math.exp(-loss)), extra=extra)

    def checkpoint(self, network: nn.Module, training: dict[str, Any], metrics: dict[str, Any]) -> Checkpoint:
        """Describe the trained network."""
        return Checkpoint(
            family=self.family,
            config=asdict(self.config),
            weights=network.state_dict(),
            words=self.words,
            answers=[],
            limits={
                "max_text_words": self.options.serve_max_text_words,
                "max_words": self.options.serve_max_words,
                "window": self.config.window,
            },
            training=training,
            metrics=metrics,
            tokenizer=self.tokenizer.to_str(),
        )

    def state(self) -> dict[str, Any]:
        """Return nothing: every epoch begins with an empty state."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Forget the streams of another start."""
        self.carried = None


def pointer_loss(output: PointerSentinelOutput, next_BT: Tensor) -> Tensor:
    """Return the mean of ``-log(g + attention on the next word)``: copy it, or leave it to the sentinel."""
    log_gate_BT = output.attention_BTL1[..., -1]
    return -torch.logaddexp(log_gate_BT, pointed_at(output, next_BT)).mean()


def ids_of(words: Sequence[str], known: Sequence[str]) -> NDArray[np.int64]:
    """Return the ids of a corpus' words, in order; ``known`` are the vocabulary's words from id 2 on."""
    ids = {word: place for place, word in enumerate(known, RESERVED)}
    return np.fromiter((ids.get(word, UNKNOWN_ID) for word in words), np.int64, len(words))


def in_streams(ids: NDArray[np.int64], streams: int) -> Tensor:
    """Cut a text into ``streams`` rows of equal length; a rest that fills no column is left out."""
    length = len(ids) // streams
    return torch.from_numpy(ids[: streams * length].reshape(streams, length).copy())


def chunks(streams_BS: Tensor, length: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield words ``[B, T]`` and the words that follow each of them; the last chunk may be shorter."""
    for start in range(0, streams_BS.shape[1] - 1, length):
        end = min(start + length, streams_BS.shape[1] - 1)
        yield streams_BS[:, start:end], streams_BS[:, start + 1 : end + 1]


@dataclass(frozen=True)
class Scores:
    """Per predicted word, in order: the log-probability it had, and the gate."""

    log_probability: NDArray[np.float64]
    gate: NDArray[np.float32]


@torch.no_grad()
def score(
    network: PointerSentinelLSTM, ids: NDArray[np.int64], streams: int = 1, device: str = "cpu"
) -> Scores:
    """Read a text statefully and say what probability each of its words had.

    In one stream every word is predicted, the first one after an end of line. In several, the rest that fills
    no column is left out.
    """
    network.eval()
    rows_BS = in_streams(ids, streams).to(device)
    before_B1 = torch.full_like(rows_BS[:, :1], END_OF_LINE_ID)
    state = network.begin(streams)
    log_p, gates = [], []
    for words_BT, next_BT in chunks(torch.cat([before_B1, rows_BS], dim=1), EVALUATION_CHUNK):
        output: PointerSentinelOutput = network(words_BT, state, padded=False)
        state = output.state
        log_p.append(network.log_probability(output, next_BT).cpu().double())
        gates.append(output.attention_BTL1[..., -1].exp().cpu())
    return Scores(torch.cat(log_p, 1).numpy().reshape(-1), torch.cat(gates, 1).numpy().reshape(-1))
