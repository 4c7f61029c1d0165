"""A request to translate as the sentences that are translated one by one, each with its place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from server.contract.bundle import Bundle
from server.errors import InputTooLong, InvalidRequest
from server.tasks.sentences import Piece, sentences, shortened
from server.tasks.translating_form import TranslateRequest

MOST_CHARACTERS, MOST_SENTENCES = 50_000, 1024
"""What a request may bring in all: longer documents take several."""


@dataclass(frozen=True, slots=True)
class Part:
    """One sentence of a text of a request.

    ``index`` is the place of the text among the texts, ``sentence`` that of the sentence in the text, and
    ``field`` what errors call the text. ``text`` is the sentence, ``piece`` where it stands in its text, and
    ``before`` what stands between the sentence before it and itself.
    """

    request: TranslateRequest
    index: int
    sentence: int
    field: str
    text: str
    piece: Piece
    before: str


def texts_of(request: TranslateRequest) -> list[str]:
    """Return what is to be translated.

    Raises:
        InvalidRequest: the request has not exactly one of the two fields.
    """
    if (request.text is None) == (request.texts is None):
        raise InvalidRequest("a request has either text or texts", fields=["text", "texts"])
    return [request.text or ""] if request.texts is None else request.texts


def parts_of(request: TranslateRequest, bundle: Bundle) -> list[Part]:
    """Return the sentences of all texts of a request, in order.

    Raises:
        InputTooLong: there are more than a request may bring.
        InvalidRequest: the request has not exactly one of text and texts.
    """
    texts = texts_of(request)
    if (characters := sum(map(len, texts))) > MOST_CHARACTERS:
        raise _too_much(request, characters, MOST_CHARACTERS, "characters")
    cut = [_pieces(text, request, bundle) for text in texts]
    if (count := sum(map(len, cut))) > MOST_SENTENCES:
        raise _too_much(request, count, MOST_SENTENCES, "sentences")
    parts: list[Part] = []
    for index, (text, pieces) in enumerate(zip(texts, cut, strict=True)):
        field, end = "text" if request.texts is None else f"texts[{index}]", 0
        for number, piece in enumerate(pieces):
            said, before = text[piece.start : piece.end], text[end : piece.start]
            parts.append(Part(request, index, number, field, said, piece, before))
            end = piece.end
    return parts


def warnings_of(parts: Sequence[Part], weights: int, most_weights: int) -> list[str]:
    """Say where sentences were cut, and whether there was more attention than an answer carries."""
    cuts = Counter(part.field for part in parts if part.piece.begins_after != "sentence")
    warnings = [
        f"{field} was cut in {count} places inside sentences that are too long for this model "
        "(sentences: begins_after)"
        for field, count in cuts.items()
    ]
    if weights > most_weights:
        warnings.append(
            f"attention has {weights} weights, an answer carries {most_weights} "
            "(ENGRAM_MAX_ATTENTION_WEIGHTS): only the largest of each token are given"
        )
    return warnings


def _pieces(text: str, request: TranslateRequest, bundle: Bundle) -> list[Piece]:
    """Return the sentences of a text, none of them too long; a text without any is refused as it is."""
    assert bundle.subwords is not None
    if request.split == "none":
        begin = len(text) - len(text.lstrip())
        return [Piece(begin, max(begin, len(text.rstrip())))]
    found = sentences(text, str(bundle.manifest.selector["source"]))
    whole = list(islice(found, MOST_SENTENCES + 1))  # one more than there may be is too many, however many
    return shortened(text, whole, bundle.subwords.ends, bundle.manifest.limits["max_pieces"]) or [
        Piece(0, len(text))
    ]


def _too_much(request: TranslateRequest, length: int, limit: int, unit: str) -> InputTooLong:
    field = "text" if request.texts is None else "texts"
    return InputTooLong(
        f"{field} has {length} {unit} or more, a request takes {limit}; send several, or a batch",
        fields=[field],
        length=length,
        limit=limit,
    )
