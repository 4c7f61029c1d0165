"""Rectangles and lines of text, written as SVG directly or painted as PNG with Pillow.

Both forms come from one list of shapes, so they show the same picture.
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

Anchor = Literal["start", "middle", "end"]
FONTS = "Helvetica, Arial, 'Noto Sans', sans-serif"
LARGEST_PNG = 8_000_000
"""Pixels up to which a PNG is painted at twice the size, for sharp text."""


@dataclass(frozen=True, slots=True)
class Box:
    """A filled rectangle; ``tip`` shows when a pointer rests on it (SVG only)."""

    x: float
    y: float
    width: float
    height: float
    fill: str
    tip: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text; ``y`` is its vertical middle and ``anchor`` says which end is at ``x``."""

    x: float
    y: float
    text: str
    size: float = 13
    anchor: Anchor = "start"
    fill: str = "#1f2328"
    bold: bool = False


@dataclass(frozen=True, slots=True)
class Drawing:
    """Shapes on a white ground, painted in order."""

    width: int
    height: int
    title: str
    shapes: Sequence[Box | Text]

    def svg(self) -> bytes:
        """Return the drawing as an SVG document in UTF-8."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
            f'viewBox="0 0 {self.width} {self.height}" font-family="{FONTS}" role="img">'
        )
        ground = f'<rect width="{self.width}" height="{self.height}" fill="#ffffff"/>'
        shapes = "".join(
            _svg_box(shape) if isinstance(shape, Box) else _svg_text(shape) for shape in self.shapes
        )
        return f"{head}<title>{_xml(self.title)}</title>{ground}{shapes}</svg>\n".encode()

    def png(self) -> bytes:
        """Return the drawing as a PNG; needs Pillow."""
        from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415 - paid for only by those who want a PNG

        scale = 2 if 4 * self.width * self.height <= LARGEST_PNG else 1
        image = Image.new("RGB", (self.width * scale, self.height * scale), "#ffffff")
        pen = ImageDraw.Draw(image)
        for shape in self.shapes:
            if isinstance(shape, Box):
                right, bottom = shape.x + shape.width, shape.y + shape.height
                corners = (shape.x * scale, shape.y * scale, right * scale - 1, bottom * scale - 1)
                pen.rectangle(corners, fill=shape.fill)
            else:
                font = ImageFont.load_default(shape.size * scale)
                anchor = {"start": "lm", "middle": "mm", "end": "rm"}[shape.anchor]
                stroke = 0.4 * scale if shape.bold else 0  # the built-in font has one weight
                pen.text(
                    (shape.x * scale, shape.y * scale),
                    printable(shape.text),
                    fill=shape.fill,
                    font=font,
                    anchor=anchor,
                    stroke_width=stroke,
                )
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        return buffer.getvalue()


def can_paint_png() -> bool:
    """Return whether Pillow is installed."""
    return find_spec("PIL") is not None


def printable(text: str) -> str:
    """Return the text without control characters, which neither XML nor a font can show."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def shorten(text: str, most: int) -> str:
    """Return the text cut to ``most`` characters, with an ellipsis where something went."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"


def text_width(text: str, size: float) -> float:
    """Estimate the width of a line of text, generously, because the reader's font is unknown."""
    return sum(1.0 if unicodedata.east_asian_width(char) in "WF" else 0.53 for char in text) * size


def _svg_box(box: Box) -> str:
    attributes = (
        f'x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" fill="{box.fill}"'
    )
    return f"<rect {attributes}><title>{_xml(box.tip)}</title></rect>" if box.tip else f"<rect {attributes}/>"


def _svg_text(text: Text) -> str:
    weight = ' font-weight="bold"' if text.bold else ""
    return (
        f'<text x="{text.x:g}" y="{text.y:g}" font-size="{text.size:g}" text-anchor="{text.anchor}" '
        f'dominant-baseline="central" fill={quoteattr(text.fill)}{weight}>{_xml(text.text)}</text>'
    )


def _xml(text: str) -> str:
    return escape(printable(text))
