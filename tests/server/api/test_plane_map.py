from xml.etree import ElementTree

import numpy as np
import pytest

from server.api.heat_map import heat_map
from server.api.plane_map import plane_map
from server.tasks.pointing_form import Measures, PointAnswer

POINTS = [(0, 0), (2, 0), (2, 1), (1, 0.5)]
SVG = "{http://www.w3.org/2000/svg}"


def picture(indices, steps):
    answer = PointAnswer(indices, True, 0.5, Measures())
    weights = np.full((steps, 4), 0.25, np.float32)
    axes = [("step", [str(step) for step in range(steps)]), ("point", ["a", "b", "c", "d"])]
    return plane_map(POINTS, answer, weights, heat_map(weights, axes, "title", "subtitle"))


@pytest.mark.parametrize(
    ("indices", "steps", "lines"),
    [([0, 1, 2], 3, 9), ([[0, 1, 3], [1, 2, 3]], 6, 6)],
    ids=["arrows", "sides"],
)
def test_every_step_is_drawn(indices, steps, lines):
    root = ElementTree.fromstring(picture(indices, steps).svg())
    assert len(root.findall(f"{SVG}line")) == lines
    assert len(root.findall(f"{SVG}circle")) == len(POINTS)


def test_picture_can_be_painted():
    assert picture([0, 1, 2], 3).png().startswith(b"\x89PNG")
