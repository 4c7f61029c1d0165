"""Rectangles, lines, dots and lines of text, written as SVG directly or painted as PNG with Pillow.

Both forms come from one list of shapes, so they show the same picture.
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, Literal
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
class Line:
    """A straight line from ``x, y`` to ``to_x, to_y``; ``tip`` as of a box."""

    x: float
    y: float
    to_x: float
    to_y: float
    stroke: str
    width: float = 2
    tip: str = ""


@dataclass(frozen=True, slots=True)
class Dot:
    """A filled circle around ``x, y``; ``tip`` as of a box."""

    x: float
    y: float
    radius: float
    fill: str
    tip: str = ""


Shape = Box | Text | Line | Dot


@dataclass(frozen=True, slots=True)
class Drawing:
    """Shapes on a white ground, painted in order."""

    width: int
    height: int
    title: str
    shapes: Sequence[Shape]

    def svg(self) -> bytes:
        """Return the drawing as an SVG document in UTF-8."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
            f'viewBox="0 0 {self.width} {self.height}" font-family="{FONTS}" role="img">'
        )
        ground = f'<rect width="{self.width}" height="{self.height}" fill="#ffffff"/>'
        shapes = "".join(map(_svg, self.shapes))
        return f"{head}<title>{_xml(self.title)}</title>{ground}{shapes}</svg>\n".encode()

    def png(self) -> bytes:
        """Return the drawing as a PNG; needs Pillow."""
        from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415 - paid for only by those who want a PNG

        scale = 2 if 4 * self.width * self.height <= LARGEST_PNG else 1
        image = Image.new("RGB", (self.width * scale, self.height * scale), "#ffffff")
        pen = ImageDraw.Draw(image)
        fonts = ImageFont.load_default
        for shape in self.shapes:
            _paint(pen, shape, scale, fonts)
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        return buffer.getvalue()


def moved(shape: Shape, right: float = 0, down: float = 0) -> Shape:
    """Return the shape in another place."""
    if isinstance(shape, Line):
        shape = replace(shape, to_x=shape.to_x + right, to_y=shape.to_y + down)
    return replace(shape, x=shape.x + right, y=shape.y + down)


def stacked(drawings: Sequence[Drawing]) -> Drawing:
    """Return one drawing with all of them below each other, under the first one's title."""
    shapes: list[Shape] = []
    down = 0
    for drawing in drawings:
        shapes += [moved(shape, down=down) for shape in drawing.shapes]
        down += drawing.height
    return Drawing(max(drawing.width for drawing in drawings), down, drawings[0].title, shapes)


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


def _paint(pen: Any, shape: Shape, scale: int, fonts: Callable[[float], Any]) -> None:
    """Paint one shape with a Pillow pen."""
    match shape:
        case Box(x, y, width, height):
            corners = (x * scale, y * scale, (x + width) * scale - 1, (y + height) * scale - 1)
            pen.rectangle(corners, fill=shape.fill)
        case Line(x, y, to_x, to_y):
            ends = (x * scale, y * scale, to_x * scale, to_y * scale)
            pen.line(ends, fill=shape.stroke, width=max(1, round(shape.width * scale)))
        case Dot(x, y, radius):
            around = [value * scale for value in (x - radius, y - radius, x + radius, y + radius)]
            pen.ellipse(around, fill=shape.fill)
        case Text():
            pen.text(
                (shape.x * scale, shape.y * scale),
                printable(shape.text),
                fill=shape.fill,
                font=fonts(shape.size * scale),
                anchor={"start": "lm", "middle": "mm", "end": "rm"}[shape.anchor],
                stroke_width=0.4 * scale if shape.bold else 0,  # the built-in font has one weight
            )


def _svg(shape: Shape) -> str:
    match shape:
        case Box():
            return _svg_box(shape)
        case Text():
            return _svg_text(shape)
        case Line():
            ends = f'x1="{shape.x:g}" y1="{shape.y:g}" x2="{shape.to_x:g}" y2="{shape.to_y:g}"'
            style = f'stroke="{shape.stroke}" stroke-width="{shape.width:g}" stroke-linecap="round"'
            return _with_tip("line", f"{ends} {style}", shape.tip)
        case Dot():
            place = f'cx="{shape.x:g}" cy="{shape.y:g}" r="{shape.radius:g}" fill="{shape.fill}"'
            return _with_tip("circle", place, shape.tip)


def _with_tip(name: str, attributes: str, tip: str) -> str:
    return f"<{name} {attributes}><title>{_xml(tip)}</title></{name}>" if tip else f"<{name} {attributes}/>"


def _svg_box(box: Box) -> str:
    attributes = (
        f'x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" fill="{box.fill}"'
    )
    return _with_tip("rect", attributes, box.tip)


def _svg_text(text: Text) -> str:
    weight = ' font-weight="bold"' if text.bold else ""
    return (
        f'<text x="{text.x:g}" y="{text.y:g}" font-size="{text.size:g}" text-anchor="{text.anchor}" '
        f'dominant-baseline="central" fill={quoteattr(text.fill)}{weight}>{_xml(text.text)}</text>'
    )


def _xml(text: str) -> str:
    return escape(printable(text))
