"""The attention of an answer as a picture, for requests with ``Accept: image/svg+xml`` or ``image/png``."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from server.api.drawing import Drawing, can_paint_png
from server.api.heat_map import Weights, heat_map
from server.api.negotiation import PNG, SVG
from server.api.plane_map import plane_map
from server.api.shaded_text import Listed, places_of, shaded_text
from server.api.translation_map import note, translation_map
from server.contract.attention import Attention
from server.tasks.pointing_form import PointAnswer, PointRequest
from server.tasks.reading import ReadAnswer
from server.tasks.translating_form import TranslateAnswer, TranslateRequest
from server.tasks.translating_parts import texts_of

PICTURES = (SVG, PNG) if can_paint_png() else (SVG,)
"""Media types a picture can have here; PNG needs Pillow."""


def draw(media_type: str, request: msgspec.Struct, answer: msgspec.Struct, model: str) -> bytes:
    """Return the picture of an answer as a file; ``media_type`` is one of ``PICTURES``, the rest as below."""
    drawing = picture(request, answer, model)
    return drawing.png() if media_type == PNG else drawing.svg()


def picture(request: msgspec.Struct, answer: msgspec.Struct, model: str) -> Drawing:
    """Return the heat map of an answer's attention, or the document that a reader looked at.

    Points are drawn in the plane, beside the heat map; a translation has a heat map for each sentence.

    Args:
        request: the task's request; its ``question``, if it has one, goes into the title.
        answer: the task's answer, with attention.
        model: ``name:version``.
    """
    attention: Attention | None = answer.attention  # type: ignore[attr-defined]
    if attention is None:
        return note(model, "nothing was looked at")
    axes = [(axis.name, list(axis.labels)) for axis in attention.axes]
    parts = [model, attention.kind.replace("_", " ")]
    if attention.normalized_over:
        parts.append(f"weights sum to 1 over each {attention.normalized_over} axis")
    if attention.kind == "memory_activity":
        parts.append("how much of each place was rewritten: no attention")
    subtitle = ", ".join(parts)
    if isinstance(answer, TranslateAnswer):
        assert isinstance(request, TranslateRequest)
        return translation_map(texts_of(request), answer, subtitle)
    title = _title(request, answer)
    if isinstance(answer, ReadAnswer):
        return _read_document(request, answer, attention, (title, subtitle))
    drawing = heat_map(_dense(attention), axes, title, subtitle, attention.offset)
    if isinstance(request, PointRequest) and isinstance(answer, PointAnswer):
        return plane_map(request.points, answer, _dense(attention), drawing)
    return drawing


def _read_document(
    request: Any, answer: ReadAnswer, attention: Attention, heading: tuple[str, str]
) -> Drawing:
    """Draw the document itself, with the words that were looked at."""
    places = places_of(attention.axes[-1].labels, request.document)
    mentions = [(place.start, place.end) for place in answer.candidates[0].positions]
    listed = [Listed(one.text, one.score) for one in answer.candidates]
    weights_T = _dense(attention).reshape(-1)
    return shaded_text(request.document, places, weights_T, mentions, candidates=listed, heading=heading)


def _title(request: Any, answer: Any) -> str:
    question, text = getattr(request, "question", ""), getattr(answer, "answer", "")
    if isinstance(request, PointRequest):
        text = request.task.replace("_", " ")
    said = f"{text} ({answer.score:.0%})" if text else ""
    return " ".join(part for part in (question, said) if part)


def _dense(attention: Attention) -> Weights:
    """Return the weights as an array, also where the answer carries only the largest of each row."""
    if isinstance(attention.weights, np.ndarray):
        return attention.weights
    shape = tuple(len(axis.labels) for axis in attention.axes)
    dense = np.zeros(shape, dtype=np.float32)
    rows: Any = attention.weights if len(shape) > 1 else [attention.weights]
    for row, pairs in zip(np.atleast_2d(dense), rows, strict=True):
        for index, weight in pairs:
            row[index] = weight
    return dense
