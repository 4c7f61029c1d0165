"""Measuring translators and comparing them, on a served model that is made up."""

from types import SimpleNamespace

import pytest

from export.measure_translation import SEARCHES, measure_translation
from export.translation_checks import compare_decoders, significance
from models.data.parallel import ParallelText, held_out_pairs
from models.learning import DataChoice
from models.translating import source_ids, subwords_of
from models.translator import SearchOptions, translate
from server.errors import InputTooLong
from server.tasks.translating_form import TranslateAnswer, Translation
from tests.models.translation_builders import recipe

PAIRS = held_out_pairs(ParallelText("sample", languages="en-art"), "test", 1)
TRAINING = {"selection": {"source": "sample", "languages": "en-art"}, "options": {"seed": 1}}


class Translator:
    """Answers each text by a function of it, as a served model does."""

    measured_by = "a test"

    def __init__(self, say, name="made-up"):
        self.bundle = SimpleNamespace(manifest=SimpleNamespace(name=name, training=TRAINING))
        self.requests = []
        self._say = say

    def answers(self, requests, told=lambda done: None):
        self.requests += requests
        told(len(requests))
        return [self._say(request.text) for request in requests]


def answer(text, **fields):
    return TranslateAnswer([Translation(text=text, **fields)])


def by_heart(text):
    """Translate a text whose sentences were seen, but for one of four joined ones."""
    known = {pair.source: pair.target for pair in PAIRS}
    if text in known:
        return answer(known[text])
    parts = [part + end for part, end in _sentences(text)]
    return answer(" ".join(known[part] for part in parts)) if len(parts) < 4 else InputTooLong("too long")


def _sentences(text):
    start = 0
    for place, letter in enumerate(text):
        if letter in ".?":
            yield text[start:place].strip(), letter
            start = place + 1


def quiet(done, total):
    assert 0 <= done <= total


def test_every_search_is_measured_by_length():
    served = Translator(by_heart)
    result = measure_translation(served, DataChoice(), quiet)
    assert [row["search"] for row in result.rows] == [search for search, _, _ in SEARCHES]
    assert result.title == "sample test, en-art, 200 sentences"
    for row in result.rows:
        assert [row[name] for name in ("BLEU", "chrF", "3 joined")] == pytest.approx([100] * 3)
        assert row["4 joined"] == 0
    asked = {(request.beam_size, request.split) for request in served.requests}
    assert asked == {(beam, split) for _, beam, split in SEARCHES}


def test_a_sentence_that_is_translated_otherwise_is_counted(monkeypatch):
    monkeypatch.setattr("export.translation_checks.chosen_pairs", lambda served, choice: ("some", PAIRS[:4]))
    made = recipe()
    network = made.network().eval()
    checkpoint = made.checkpoint(network, TRAINING, {})
    source, target = subwords_of(checkpoint)

    def say(text):
        [found] = translate(network, [source_ids(source, text)], SearchOptions())
        tokens = target.labels(found.ids.tolist())
        if text == PAIRS[2].source:
            tokens[-1] = "another"
        told = {"tokens": tokens, "finish_reason": "end" if found.ended else "length"}
        return answer(target.text(found.ids.tolist()).strip(), **told)

    rows = compare_decoders(Translator(say), checkpoint, DataChoice(), quiet).rows
    assert [(row["asked"], row["sentences"], row["different"]) for row in rows] == [
        ("in batches", 4, 1),
        ("alone", 4, 1),
    ]


def test_a_worse_translator_is_told_from_a_better_one(monkeypatch):
    monkeypatch.setattr("export.translation_checks.SAMPLES", 60)

    def worse(text):
        return answer(by_heart(text).translations[0].text.replace("i", "o"))

    served = [Translator(by_heart, "good"), Translator(worse, "bad"), Translator(by_heart, "same")]
    result = significance(served, DataChoice(), 1, quiet)
    good, bad, same = result.rows
    assert good["BLEU"] == pytest.approx(100)
    assert bad["BLEU"] < 90
    assert bad["p (BLEU)"] < 0.05
    assert good["p (BLEU)"] is same["p (BLEU)"] is None
    assert result.notes[-1].endswith("good is as good")
