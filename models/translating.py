"""How translation families learn: label-smoothed cross-entropy, batches by length, averaged weights.

Used by ``models.families`` for every family whose task is ``translate``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from models.checkpoint import Checkpoint
from models.data.parallel import Pair
from models.families import FAMILIES
from models.presets import options_from
from models.recipe import Evaluation
from models.translator import Ids, SearchOptions, padded, translate
from server.contract.subwords import END_ID, PAD_ID, START_ID, Subwords


@dataclass(frozen=True)
class TranslationOptions:
    """What is learnt from, and how.

    ``pieces`` is the size of a vocabulary of subwords, learnt from the training pairs: of both languages
    together where ``joint``, else of each.
    A pair with more than ``max_pieces`` pieces on a side is not learnt from. ``pieces_a_batch`` bounds the
    padded pieces of a batch, both sides together, and ``pairs_a_batch`` its pairs.
    ``label_smoothing`` moves that part of the target to all other pieces.
    The weights of the last ``averaged_epochs`` epochs are averaged for every checkpoint.
    ``relaxation_pull`` weighs how far the sets of weights of a relaxed network are apart.
    ``precision`` is what matrices are multiplied in while learning; weights stay in float32.
    ``bleu_pairs`` validation sentences are translated greedily after every epoch (0 = none).
    ``serve_max_pieces`` is the longest source a bundle of this network will state.
    """

    pieces: int = 4000
    joint: bool = True
    max_pieces: int = 80
    pieces_a_batch: int = 3600
    pairs_a_batch: int = 128
    label_smoothing: float = 0.1
    averaged_epochs: int = 5
    relaxation_pull: float = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    bleu_pairs: int = 200
    serve_max_pieces: int = 256

    def __post_init__(self) -> None:
        """Refuse what no run can have."""
        for name in ("max_pieces", "pieces_a_batch", "pairs_a_batch", "averaged_epochs", "serve_max_pieces"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


class TranslationBatch(NamedTuple):
    """Sources, what the decoder is told, and what it should say next: one piece later, the end last."""

    source_BS: Tensor
    told_BT: Tensor
    next_BT: Tensor


@dataclass
class TranslationRecipe:
    """Training of a translation network on sentence pairs (a ``models.recipe.Recipe``).

    ``shape`` are fields of the family's configuration; the vocabularies are those of ``train``.
    """

    family: str
    train: Sequence[Pair]
    valid: Sequence[Pair]
    languages: tuple[str, str]
    options: TranslationOptions
    shape: dict[str, Any]
    device: str = "cpu"

    sizes: ClassVar[tuple[str, str]] = ("source_vocabulary", "target_vocabulary")

    def __post_init__(self) -> None:
        """Learn the subwords and cut the pairs.

        Raises:
            ValueError: a field of ``shape`` is wrong, or no pair is short enough.
        """
        sources, targets = ([pair[side] for pair in self.train] for side in (0, 1))
        if self.options.joint:
            joint = Subwords.learn([*sources, *targets], self.options.pieces)
            self.subwords = joint, joint
        else:
            learnt = (Subwords.learn(texts, self.options.pieces) for texts in (sources, targets))
            self.subwords = next(learnt), next(learnt)
        sizes = dict(zip(TranslationRecipe.sizes, map(len, self.subwords), strict=True))
        self.config: Any = options_from(FAMILIES[self.family].config, "network", self.shape, **sizes)
        self.examples = [one for one in map(self._cut, self.train) if self._fits(one)]
        self.held_out = [self._cut(pair) for pair in self.valid]
        self.last: deque[dict[str, Tensor]] = deque(maxlen=self.options.averaged_epochs)
        if not self.examples:
            raise ValueError(f"no pair has at most {self.options.max_pieces} pieces: learning.max_pieces")

    def _cut(self, pair: Pair) -> tuple[Ids, Ids]:
        return source_ids(self.subwords[0], pair.source), self.subwords[1].ids(pair.target)

    def _fits(self, example: tuple[Ids, Ids]) -> bool:
        return all(0 < len(side) <= self.options.max_pieces for side in example)

    def network(self) -> nn.Module:
        """Build the network."""
        return FAMILIES[self.family].network(self.config)

    def batches(
        self, epoch: int, epochs: int, rng: np.random.Generator
    ) -> tuple[int, Iterable[TranslationBatch]]:
        """Batch the pairs by length.

        Args:
            epoch: from 0.
            epochs: how many there will be.
            rng: decides which pairs come together, and the order of the batches.

        Returns:
            The number of pairs, and their batches.
        """
        groups = grouped(self.examples, self.options.pieces_a_batch, self.options.pairs_a_batch, rng)
        return len(self.examples), (batch_of([self.examples[one] for one in group]) for group in groups)

    def loss(self, network: nn.Module, batch: TranslationBatch) -> tuple[Tensor, int]:
        """Return the label-smoothed cross-entropy of a piece, and the number of pairs."""
        loss, _ = self._loss(network, batch, self.options.label_smoothing)
        if self.options.relaxation_pull > 0:
            loss = loss + self.options.relaxation_pull * network.disagreement()  # type: ignore[operator]
        return loss, len(batch.source_BS)

    def _loss(self, network: nn.Module, batch: TranslationBatch, smoothing: float) -> tuple[Tensor, Tensor]:
        source_BS, told_BT, next_BT = (part.to(self.device) for part in batch)
        kind = torch.device(self.device).type
        with torch.autocast(kind, torch.bfloat16, enabled=self.options.precision == "bfloat16"):
            readout_BTE = network(source_BS, told_BT)
            real_BT = next_BT != PAD_ID
            logits_NV = network.logits(readout_BTE[real_BT])  # type: ignore[operator]  # every Translator has it
        next_N = next_BT[real_BT]
        loss = cross_entropy(logits_NV.float(), next_N, label_smoothing=smoothing)
        return loss, (logits_NV.argmax(dim=-1) != next_N).sum()

    def evaluate(self, network: nn.Module) -> Evaluation:
        """Measure the averaged weights: cross-entropy and wrong pieces (percent), perplexity, greedy BLEU."""
        self.last.append(
            {name: weight.detach().cpu().clone() for name, weight in network.state_dict().items()}
        )
        own = network.state_dict()
        kept = {name: weight.clone() for name, weight in own.items()}
        network.load_state_dict(averaged(self.last))
        network.eval()
        try:
            return self._evaluate(network)
        finally:
            network.load_state_dict(kept)

    @torch.no_grad()
    def _evaluate(self, network: nn.Module) -> Evaluation:
        total, wrong, count = 0.0, 0, 0
        for group in grouped(self.held_out, 8192, 256, np.random.default_rng(0)):
            batch = batch_of([self.held_out[one] for one in group])
            pieces = int((batch.next_BT != PAD_ID).sum())
            loss, missed = self._loss(network, batch, 0.0)
            total, wrong, count = total + float(loss) * pieces, wrong + int(missed), count + pieces
        extra = {"perplexity": float(np.exp(min(20.0, total / count)))}
        if self.options.bleu_pairs:
            chosen = self.valid[: self.options.bleu_pairs]
            sources = [pair.source for pair in chosen]
            texts = translations(network, self.subwords, sources, SearchOptions(), self.device)
            extra["bleu"] = BLEU().corpus_score(texts, [[pair.target for pair in chosen]]).score
        return Evaluation(total / count, 100 * wrong / count, extra=extra)

    def checkpoint(self, network: nn.Module, training: dict[str, Any], metrics: dict[str, Any]) -> Checkpoint:
        """Describe the trained network: the averaged weights of its last epochs."""
        weights = averaged(self.last) if self.last else network.state_dict()
        return Checkpoint(
            family=self.family,
            config=asdict(self.config),
            weights=weights,
            words=[],
            answers=[],
            limits={"max_pieces": self.options.serve_max_pieces},
            training=training,
            metrics=metrics,
            tokenizer=self.subwords[0].dump(),
            target_tokenizer="" if self.options.joint else self.subwords[1].dump(),
            selector=dict(zip(("source", "target"), self.languages, strict=True)),
        )

    def state(self) -> dict[str, Any]:
        """Return the weights of the last epochs."""
        return {"last": list(self.last)}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back the weights of the last epochs."""
        self.last = deque(state["last"], maxlen=self.options.averaged_epochs)


def subwords_of(checkpoint: Checkpoint) -> tuple[Subwords, Subwords]:
    """Return the subwords of the source and of the target of a checkpoint."""
    source = Subwords.parse(checkpoint.tokenizer.encode())
    target = checkpoint.target_tokenizer
    return source, Subwords.parse(target.encode()) if target else source


def source_ids(subwords: Subwords, text: str) -> Ids:
    """Return what a network reads: the pieces of a text and the end mark."""
    return np.append(subwords.ids(text), END_ID)


def batch_of(examples: Sequence[tuple[Ids, Ids]]) -> TranslationBatch:
    """Pad examples to a batch."""
    told = [np.concatenate([[START_ID], target]) for _, target in examples]
    following = [np.append(target, END_ID) for _, target in examples]
    return TranslationBatch(padded([source for source, _ in examples]), padded(told), padded(following))


def grouped(
    examples: Sequence[tuple[Ids, Ids]], pieces: int, pairs: int, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Yield the places of examples that make up a batch: of like lengths, in random order.

    Args:
        examples: pieces of both sides.
        pieces: the most padded pieces of a batch, both sides together; a longer pair is a batch of its own.
        pairs: the most pairs of a batch.
        rng: decides.
    """
    sizes = np.array([[len(source), len(target) + 1] for source, target in examples])
    order = np.argsort(sizes @ [1.0, 1.2] + rng.uniform(0, 2, len(sizes)), kind="stable")
    groups: list[list[int]] = []
    widest = np.zeros(2, dtype=np.int64)
    for place in order.tolist():
        wider = np.maximum(widest, sizes[place])
        if not groups or len(groups[-1]) == pairs or wider.sum() * (len(groups[-1]) + 1) > pieces:
            groups.append([])
            wider = sizes[place]
        groups[-1].append(place)
        widest = wider
    for number in rng.permutation(len(groups)):
        yield np.array(groups[number])


def averaged(weights: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of several state dicts."""
    return {
        name: torch.stack([one[name] for one in weights]).mean(dim=0)
        if first.is_floating_point()
        else weights[-1][name]
        for name, first in weights[0].items()
    }


def translations(
    network: Any,
    subwords: tuple[Subwords, Subwords],
    texts: Sequence[str],
    options: SearchOptions,
    device: str = "cpu",
) -> list[str]:
    """Translate texts by eager torch, in batches of like length; the order is kept."""
    sources = [source_ids(subwords[0], text) for text in texts]
    order = sorted(range(len(texts)), key=lambda place: len(sources[place]))
    said = [""] * len(texts)
    for first in range(0, len(order), 64):
        places = order[first : first + 64]
        found = translate(network, [sources[place] for place in places], options, device)
        for place, one in zip(places, found, strict=True):
            said[place] = subwords[1].text(one.ids.tolist()).strip()
    return said
