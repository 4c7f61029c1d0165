"""Pictures: one layout, two forms, whatever the labels are."""

from xml.etree import ElementTree

import numpy as np
import pytest

from server.api.drawing import Box, Text
from server.api.heat_map import MOST_ROWS, colour, heat_map

SENTENCES = ["Anna took the milk.", "<svg onload='x'>&", "\x00\x1b[31m\u202e", "語" * 100, ""]


def picture(rows=SENTENCES, hops=2, offset=0):
    weights = np.linspace(0, 1, hops * len(rows), dtype=np.float32).reshape(hops, len(rows))
    axes = [("hop", [str(hop + 1) for hop in range(hops)]), ("fact", list(rows))]
    return heat_map(weights, axes, "Where? garden (97%)", "tiny:1", offset)


def test_svg_is_well_formed_whatever_the_labels_hold():
    root = ElementTree.fromstring(picture().svg())
    texts = ["".join(element.itertext()) for element in root.iter() if element.tag.endswith("text")]
    assert "<svg onload='x'>&" in texts
    assert not [element for element in root.iter() if "onload" in element.attrib]


def test_every_shape_lies_inside_the_drawing():
    drawing = picture()
    for shape in drawing.shapes:
        assert 0 <= shape.x <= drawing.width
        assert 0 <= shape.y <= drawing.height
        if isinstance(shape, Box):
            assert shape.x + shape.width <= drawing.width
            assert shape.y + shape.height <= drawing.height


def test_rows_are_numbered_from_the_start_of_the_story():
    texts = [shape.text for shape in picture(offset=10).shapes if isinstance(shape, Text)]
    assert "11" in texts
    assert "1" not in texts


def test_long_story_keeps_its_strongest_rows():
    rows = [f"fact {index}" for index in range(MOST_ROWS + 50)]
    texts = [shape.text for shape in picture(rows).shapes if isinstance(shape, Text)]
    assert f"fact {MOST_ROWS + 49}" in texts
    assert "fact 3" not in texts
    assert sum(text.startswith("fact ") for text in texts) == MOST_ROWS


def test_single_look_and_no_weight_at_all_can_be_drawn():
    drawing = heat_map(np.zeros(3, dtype=np.float32), [("token", ["a", "b", "c"])], "", "")
    ElementTree.fromstring(drawing.svg())


def test_colour_grows_darker_with_the_weight():
    assert colour(0) == "#f7fbff"
    assert colour(1) == "#08306b"
    shades = [int(colour(share)[1:3], 16) for share in np.linspace(0, 1, 20)]
    assert shades == sorted(shades, reverse=True)


def test_png_has_the_size_of_the_drawing():
    image = pytest.importorskip("PIL.Image")
    import io

    drawing = picture()
    painted = image.open(io.BytesIO(drawing.png()))
    assert painted.size == (2 * drawing.width, 2 * drawing.height)
