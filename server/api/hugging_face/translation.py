"""Translation in Hugging Face's words: ``TranslationInput`` in, ``TranslationOutput`` out."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar

import msgspec

from server.contract.attention import Attention
from server.errors import EngramError, ExecutorLost, InvalidRequest, Overloaded, RunError
from server.tasks.translating_form import (
    MOST_BEAMS,
    MOST_TEXTS,
    Failure,
    TranslateAnswer,
    TranslateRequest,
)


class GenerateParameters(msgspec.Struct, frozen=True):
    """Of the parameters of a text generation, those that mean something here."""

    num_beams: Annotated[int, msgspec.Meta(ge=1, le=MOST_BEAMS)] | None = None
    max_new_tokens: Annotated[int, msgspec.Meta(ge=1, le=4096)] | None = None
    max_length: Annotated[int, msgspec.Meta(ge=1, le=4096)] | None = None
    length_penalty: Annotated[float, msgspec.Meta(ge=0, le=4)] | None = None


class TranslationParameters(msgspec.Struct, frozen=True):
    """Languages as codes such as ``en``, ``en_XX`` or ``en-GB``, and how to search."""

    src_lang: str | None = None
    tgt_lang: str | None = None
    generate_parameters: GenerateParameters | None = None


class TranslationInput(msgspec.Struct, frozen=True):
    """What ``InferenceClient.translation`` posts: a text, or a list of them."""

    inputs: str | Annotated[list[str], msgspec.Meta(min_length=1, max_length=MOST_TEXTS)]
    parameters: TranslationParameters | None = None


class TranslationOutput(msgspec.Struct, frozen=True):
    """A translation; its score and attention travel beside what that client knows."""

    translation_text: str
    score: float
    attention: Attention | None = None
    warnings: list[str] = msgspec.field(default_factory=list)


class TranslationForm:
    """The task ``translate``: long texts are translated sentence by sentence."""

    Body: ClassVar[type[msgspec.Struct]] = TranslationInput

    def request(self, body: TranslationInput) -> TranslateRequest:
        """Return the request for the body's text or texts."""
        parameters = body.parameters or TranslationParameters()
        generate = parameters.generate_parameters or GenerateParameters()
        defaults = TranslateRequest()
        return TranslateRequest(
            text=body.inputs if isinstance(body.inputs, str) else None,
            texts=None if isinstance(body.inputs, str) else body.inputs,
            source=_language(parameters.src_lang),
            target=_language(parameters.tgt_lang),
            beam_size=generate.num_beams or defaults.beam_size,
            max_length=generate.max_new_tokens or generate.max_length,
            length_penalty=(
                defaults.length_penalty if generate.length_penalty is None else generate.length_penalty
            ),
        )

    def respond(self, body: TranslationInput, answer: TranslateAnswer) -> list[TranslationOutput]:
        """Return a list with each translation.

        Raises:
            EngramError: why a text has none; this form has no place for that beside the others.
        """
        outputs: list[TranslationOutput] = []
        for one in answer.translations:
            if one.error is not None:
                raise _error(one.error)
            outputs.append(
                TranslationOutput(one.text or "", one.score or 0.0, one.attention, answer.warnings)
            )
        return outputs


def _error(failure: Failure) -> EngramError:
    """Return the error that became of a text, so that a client knows whether to ask again."""
    match failure.code:
        case Overloaded.code:
            return Overloaded(failure.message, float(failure.details["retry_after_s"]))
        case ExecutorLost.code:
            return ExecutorLost(failure.message)
        case RunError.code:
            return RunError(failure.message)
    return InvalidRequest(failure.message, **failure.details)


def _language(code: str | None) -> str | None:
    """Return ``en`` for ``en_XX``, ``en-GB`` and the like."""
    return None if code is None else re.split("[-_]", code)[0].lower()
