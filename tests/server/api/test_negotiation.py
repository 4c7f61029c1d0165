"""Which form of an answer a client gets."""

import pytest

from server.api.negotiation import JSON, PNG, SVG, best_type, takes_gzip


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (b"", JSON),
        (b"*/*", JSON),
        (b"application/*", JSON),
        (b"image/*", SVG),
        (b"image/png", PNG),
        (b"image/png;q=0.3, image/svg+xml;q=0.9", SVG),
        (b"text/html, */*;q=0.1", JSON),
        (b"application/json;q=0, */*", SVG),
        (b"Image/PNG", PNG),
        (b"text/html", None),
        (b"application/json;q=none", None),
        (b",;=,", None),
    ],
)
def test_best_type(accept, expected):
    assert best_type(accept, (JSON, SVG, PNG)) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [(b"", False), (b"gzip", True), (b"br;q=1, gzip;q=0.5", True), (b"gzip;q=0", False), (b"*", True)],
)
def test_takes_gzip(header, expected):
    assert takes_gzip(header) is expected
