"""Completing text: words in, the words that come next out, each with where it was copied from or not.

The model is driven word by word: first the text in chunks, then what has been chosen. What it remembers at
the end goes to the client as an opaque text, and a request that brings it goes on from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import msgspec
import numpy as np

from server.contract.attention import Form
from server.contract.bundle import Bundle
from server.contract.manifest import NEXT
from server.contract.tensors import Array
from server.contract.text import PAD_ID, UNKNOWN_ID, Vocabulary
from server.errors import BundleError, InputTooLong, InvalidRequest
from server.tasks.base import Prepared
from server.tasks.completion_form import CompleteAnswer, CompleteRequest, WordEvent
from server.tasks.completion_state import Memory, fresh, state_specs, unpack
from server.tasks.joining import END_OF_LINE, UNKNOWN_WORD, Joiner
from server.tasks.words import too_long, unknown_words_error
from server.tasks.writing import Begun, Writing

OUTPUTS = ("probabilities", "attention")
CHARACTERS_A_WORD = 20
"""A text may have so many characters for each word that the model takes: it bounds the work of cutting it."""


class Completion:
    """The task ``complete``: a stepwise task whose models need no encoder."""

    name: ClassVar[str] = "complete"
    Request: ClassVar[type[msgspec.Struct]] = CompleteRequest
    Answer: ClassVar[type[msgspec.Struct]] = CompleteAnswer
    events: ClassVar[tuple[type[msgspec.Struct], ...]] = (WordEvent,)

    def __init__(self, max_attention_weights: int = 100_000) -> None:
        self._max_attention_weights = max_attention_weights

    def selector(self, request: CompleteRequest) -> Mapping[str, str | int]:
        """Return no selector: one default model continues every text."""
        return {}

    def check(self, bundle: Bundle) -> None:
        """Make sure of the vocabulary, the limits and the tensors of the step."""
        manifest = bundle.manifest
        if bundle.vocabulary is None:
            raise BundleError("task complete needs a tokenizer of words (manifest: tokenizer)")
        if bundle.vocabulary.id_of(END_OF_LINE) is None:
            raise BundleError(f"task complete needs the word {END_OF_LINE} in the tokenizer")
        for limit in ("max_text_words", "max_words", "window"):
            if manifest.limits.get(limit, 0) < 1:
                raise BundleError(f"task complete needs {limit} (manifest: limits)")
        if "step" not in manifest.stages:
            raise BundleError("task complete needs a stage step (manifest: stages)")
        step, window = manifest.stages["step"], manifest.limits["window"]
        dims = {spec.name: spec.dims for spec in (*step.inputs, *step.outputs)}
        expected: dict[str, tuple[str | int, ...]] = {
            "words": ("batch", "words"),
            "window_words": ("batch", window),
            "probabilities": ("batch", len(bundle.vocabulary)),
            "attention": ("batch", "words", window + 1),
        }
        for name, axes in expected.items():
            if dims.get(name) != axes:
                raise BundleError(f"task complete needs {name} {list(axes)}, the step has {dims.get(name)}")
        fed = {spec.name for spec in step.inputs} - {spec.name for spec in state_specs(bundle)}
        free = [
            spec.name for spec in state_specs(bundle) if not all(isinstance(d, int) for d in spec.dims[1:])
        ]
        if fed != {"words"} or free:
            raise BundleError("task complete needs a step of words and a state of fixed size")

    def prepare(self, request: CompleteRequest, bundle: Bundle) -> Prepared:
        """Cut the text into words and take up the state, or begin a new one."""
        assert bundle.vocabulary is not None
        vocabulary, limit = bundle.vocabulary, bundle.manifest.limits["max_text_words"]
        _check_characters("text", request.text, limit)
        _check_characters("then", request.then or "", limit)
        words = vocabulary.split(request.text)
        if not words and request.state is None and request.then is None:
            raise InvalidRequest("text has no words", fields=["text"])
        forced = None if request.then is None else vocabulary.ids(request.then)
        if forced is not None and not len(forced):
            raise InvalidRequest("then has no words", fields=["then"])
        wanted = request.max_words if forced is None else len(forced)
        if len(words) + wanted > limit:
            raise _too_many(len(words), wanted, limit, "max_words" if forced is None else "then")
        ids = vocabulary.ids(request.text)
        end_of_line = vocabulary.id_of(END_OF_LINE)
        assert end_of_line is not None
        memory = unpack(request.state, bundle) if request.state else fresh(bundle, end_of_line)
        warnings = _unknown(request, vocabulary)
        begun = Begun(
            request=request,
            memory=memory,
            ids=np.concatenate([[memory.unread], ids]).astype(np.int64),
            wanted=wanted,
            forced=forced,
            joiner=_joiner(memory, words, request.text, vocabulary),
            form=self._form(request, wanted, bundle, warnings),
            warnings=warnings,
        )
        outputs: tuple[str, ...] = OUTPUTS
        if request.return_state:
            outputs += tuple(NEXT + spec.name for spec in state_specs(bundle))
        return Prepared(memory.arrays, outputs, begun)

    def _form(self, request: CompleteRequest, wanted: int, bundle: Bundle, warnings: list[str]) -> Form:
        """Fall back to the largest weights where an answer would carry too many."""
        weights = wanted * (bundle.manifest.limits["window"] + 1)
        if request.attention != "full" or weights <= self._max_attention_weights:
            return request.attention
        warnings.append(
            f"attention has up to {weights} weights, an answer carries {self._max_attention_weights} "
            "(ENGRAM_MAX_ATTENTION_WEIGHTS): only the largest of each word are given"
        )
        return "top"

    def begin(self, encoded: Mapping[str, Array], prepared: Prepared, bundle: Bundle) -> Writing:
        """Return the search for one request."""
        return Writing(prepared.context, bundle)


def _joiner(memory: Memory, words: list[str], text: str, vocabulary: Vocabulary) -> Joiner:
    """Return a joiner that goes on where the text, or the words before it, ended."""
    joiner = Joiner()
    if memory.read:
        place = memory.unread - len((PAD_ID, UNKNOWN_ID))
        joiner.add(vocabulary.words[place] if place >= 0 else UNKNOWN_WORD)
    if text:
        joiner.follow(words, text)
    return joiner


def _unknown(request: CompleteRequest, vocabulary: Vocabulary) -> list[str]:
    fields = {"text": request.text, "then": request.then or ""}
    unknown: dict[str, str] = {}
    for field, text in fields.items():
        if UNKNOWN_ID in vocabulary.ids(text):
            found = (word for word in vocabulary.unknown(text) if word != UNKNOWN_WORD)
            unknown = dict.fromkeys(found, field) | unknown
    if not unknown:
        return []
    if request.unknown_words == "error":
        raise unknown_words_error(unknown, vocabulary)
    return [f"not known to this model and read as {UNKNOWN_WORD}: {', '.join(unknown)}"]


def _check_characters(field: str, text: str, words: int) -> None:
    most = CHARACTERS_A_WORD * words
    if len(text) > most:
        raise InputTooLong(
            f"{field} has {len(text)} characters, this model takes {most} ({CHARACTERS_A_WORD} for each word "
            "of max_text_words in its manifest)",
            fields=[field],
            length=len(text),
            limit=most,
        )


def _too_many(words: int, wanted: int, limit: int, field: str) -> InputTooLong:
    if words >= limit:
        return too_long("words", words, limit - 1, "max_text_words", "text")
    return InputTooLong(
        f"text has {words} words and {field} asks for {wanted} more, this model takes {limit} in all "
        "(manifest: max_text_words)",
        fields=["text", field],
        length=words + wanted,
        limit=limit,
        knob="max_text_words",
    )
