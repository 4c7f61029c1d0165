"""Two checks of served translation: is it the eager decoder's, and which of two models is better for sure.

``python -m export decoders`` and ``python -m export significance`` print what is found here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.significance import PairedTest, Result

from export.greedy import TIE
from export.measure_translation import chosen_pairs, translated
from export.served import Served
from models.checkpoint import Checkpoint
from models.families import build
from models.learning import Cell, DataChoice, ResultTable
from models.translating import source_ids, subwords_of
from models.translator import Found, Ids, SearchOptions, Translator, log_probabilities, padded, translate
from server.contract.subwords import START_ID, Subwords
from server.tasks.translating_form import TranslateAnswer, TranslateRequest, Translation

SAMPLES = 1000
"""Resamples of the paired bootstrap."""

Told = Callable[[int, int], Any]


def compare_decoders(served: Served, checkpoint: Checkpoint, choice: DataChoice, told: Told) -> ResultTable:
    """Translate held-out sentences greedily by the server, alone and in batches, and by eager torch.

    Args:
        served: the bundle.
        checkpoint: the network that was exported, rounded as it was.
        choice: what to translate.
        told: told how many of how many sentences are translated.
    """
    title, pairs = chosen_pairs(served, choice)
    texts = [pair.source for pair in pairs]
    network: Any = build(checkpoint)
    source, target = subwords_of(checkpoint)
    sources = [source_ids(source, text) for text in texts]
    expected = [found for one in sources for found in translate(network, [one], SearchOptions())]
    requests = [TranslateRequest(text, split="none", attention="none") for text in texts]
    ways = {"in batches": served.answers(requests, lambda done: told(done, 2 * len(texts)))}
    ways["alone"] = []
    for request in requests:
        ways["alone"] += served.answers([request])
        told(len(texts) + len(ways["alone"]), 2 * len(texts))
    rows: list[dict[str, Cell]] = []
    for way, answers in ways.items():
        margins = [
            margin_of_parting(network, one, wanted, _translation(answer), target)
            for one, wanted, answer in zip(sources, expected, answers, strict=True)
        ]
        parted = [margin for margin in margins if margin is not None]
        close = sum(margin < TIE for margin in parted)
        rows.append({"asked": way, "sentences": len(texts), "different": len(parted), "of them close": close})
    note = f"close: the two best log-probabilities differ by less than {TIE:g} where the translations part"
    return ResultTable(title, rows, (note,), served.measured_by)


@torch.inference_mode()
def margin_of_parting(
    network: Translator, source: Ids, wanted: Found, found: Translation, subwords: Subwords
) -> float | None:
    """Return how far apart the two best pieces were where a translation leaves the eager one, if it does."""
    labels = subwords.labels(wanted.ids.tolist())
    told = found.tokens or []
    ended = found.finish_reason == "end"
    if told == labels and ended == wanted.ended and found.text == subwords.text(wanted.ids.tolist()).strip():
        return None
    both = zip(told, labels, strict=False)
    step = next((place for place, (own, its) in enumerate(both) if own != its), min(len(told), len(labels)))
    memory, state = network.encode(padded([source]))
    spoken = torch.tensor([[START_ID, *wanted.ids[:step].tolist()]])
    readout_BTE, _, _ = network.decode(spoken, state, memory)
    best, second = log_probabilities(network, readout_BTE[:, -1])[0].topk(2).values.tolist()
    return float(best - second)


def significance(served: Sequence[Served], choice: DataChoice, beam: int, told: Told) -> ResultTable:
    """Compare models with the first of them by paired bootstrap resampling (Koehn 2004).

    Raises:
        ValueError: they are measured on different sentences.
    """
    named: list[tuple[str, Sequence[str]]] = []
    references: list[str] = []
    titles = []
    for place, one in enumerate(served):
        title, pairs = chosen_pairs(one, choice)
        titles.append(title)
        references = [pair.target for pair in pairs]
        named.append((one.bundle.manifest.name, translated(one, [pair.source for pair in pairs], beam)))
        told(place + 1, len(served))
    if len(set(titles)) > 1:
        raise ValueError(f"the models are measured on {' and on '.join(sorted(set(titles)))}: choose --data")
    metrics = {"BLEU": BLEU(references=[references]), "chrF": CHRF(references=[references])}
    signatures, scores = PairedTest(named, metrics, None, test_type="bs", n_samples=SAMPLES, n_jobs=1)()
    rows: list[dict[str, Cell]] = [{"model": name} for name, _ in named]
    for metric in signatures:
        for row, result, (_, own) in zip(rows, scores[metric], named, strict=True):
            assert isinstance(result, Result)
            row |= {metric: float(result.score), f"{metric} ±": float(result.ci or 0)}
            # The library gives 1 / (samples + 1) where all translations are the same.
            same = result.p_value is None or own == named[0][1]
            row[f"p ({metric})"] = None if same else float(result.p_value or 0)
    notes = (
        *(f"{name}: {signature}" for name, signature in signatures.items()),
        f"±: half the 95 % interval; p: that {named[0][0]} is as good",
    )
    return ResultTable(titles[0], rows, notes, served[0].measured_by, decimals=4)


def _translation(answer: Any) -> Translation:
    if isinstance(answer, Exception):
        raise answer
    assert isinstance(answer, TranslateAnswer)
    return answer.translations[0]
