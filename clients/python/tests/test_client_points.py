"""Pointing: what is sent, what comes back, and how the command draws it."""

import json

import httpx2
import pytest
from typer.testing import CliRunner

from engram import Client, ItemError, PointAnswer
from engram.cli.app import app
from engram.cli.failures import UsageProblem
from engram.cli.plane import plane
from engram.cli.point import parse_points

POINTS = [(0.0, 0.0), (4.0, 0.0), (2.0, 1.0), (1.0, 3.0)]
PAYLOAD = {
    "indices": [0, 1, 3],
    "valid": True,
    "score": 0.75,
    "measures": {"area_coverage": 1.0},
    "attention": {
        "kind": "pointer",
        "normalized_over": "point",
        "axes": [
            {"name": "step", "labels": ["1", "2"]},
            {"name": "point", "labels": ["point 0", "point 1", "stop"]},
        ],
        "weights": [[0.8, 0.1, 0.1], [0.1, 0.9, 0.0]],
        "offset": 0,
    },
    "warnings": ["a note"],
    "model": {"name": "hull", "version": 1},
    "timing_ms": {"queue": 0.1, "compute": 1.0, "total": 1.5},
    "batch_size": 1,
}
ERROR = {
    "error": {"code": "invalid_request", "message": "points has 1 points", "details": {}, "request_id": "r"}
}


class Pointer:
    """A server that answers every request alike and keeps what it was sent."""

    def __init__(self, payload=None):
        self.sent = []
        self.payload = payload or PAYLOAD

    def __call__(self, request):
        body = json.loads(request.content)
        self.sent.append(body)
        if request.headers["accept"] == "image/svg+xml":
            return httpx2.Response(200, content=b"<svg/>", headers={"content-type": "image/svg+xml"})
        if "requests" in body:
            items = [self.payload if len(one["points"]) > 1 else ERROR for one in body["requests"]]
            return httpx2.Response(200, json={"results": items})
        return httpx2.Response(200, json=self.payload)


@pytest.fixture
def server():
    return Pointer()


@pytest.fixture
def transport(server):
    return httpx2.MockTransport(server)


def test_points_are_sent_as_numbers_and_the_answer_is_read(server, transport):
    with Client(transport=transport) as client:
        answer = client.point(iter([(0, 0), [4, 0], (2, 1)]), "convex_hull", beam_size=3)
    assert server.sent == [
        {"points": [[0.0, 0.0], [4.0, 0.0], [2.0, 1.0]], "task": "convex_hull", "beam_size": 3}
    ]
    assert isinstance(answer, PointAnswer)
    assert answer.indices == (0, 1, 3)
    assert answer.sides == ((0, 1), (1, 3), (3, 0))
    assert answer.measures.area_coverage == 1.0
    assert answer.attention.weights.shape == (2, 3)
    assert str(answer) == "0 1 3  (100.00% of the hull's area)"


def test_triangles_have_three_sides_each():
    payload = PAYLOAD | {
        "indices": [[0, 1, 2], [0, 2, 3]],
        "measures": {"triangle_coverage": 0.5},
        "valid": False,
    }
    answer = PointAnswer.from_payload(payload)
    assert len(answer.sides) == 6
    assert "50.0% of the triangles, not a valid answer" in str(answer)


def test_a_bad_item_spoils_only_itself(transport):
    with Client(transport=transport) as client:
        found = client.point_many([{"points": some, "task": "tour"} for some in (POINTS, POINTS[:1], POINTS)])
    assert [type(one) for one in found] == [PointAnswer, ItemError, PointAnswer]


def test_misspelt_options_are_refused_before_anything_is_sent(server, transport):
    with Client(transport=transport) as client, pytest.raises(TypeError, match="beam"):
        client.point(POINTS, "tour", beam=3)
    assert server.sent == []


def test_pictures_come_as_they_are(transport):
    with Client(transport=transport) as client:
        assert client.point_picture(POINTS, "tour") == b"<svg/>"


@pytest.mark.parametrize(
    "text",
    [
        "0.5,1\n2,-3e1\n",
        "x,y\n0.5,1\n2,-30\n",
        "0.5 1\n\n2   -30",
        "0.5; 1\n2;-30",
        "0.5\t1\n2\t-30",
        '"x","y"\n"0.5", "1"\n2,-30',
    ],
    ids=["commas", "a header", "blanks", "semicolons", "tabs", "quotes"],
)
def test_points_are_read_from_text(text):
    assert parse_points(text) == [(0.5, 1.0), (2.0, -30.0)]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("0,1\n2\n", "line 2"),
        ("0,1\nx,y\n", "line 2"),
        ("1,2,3\n", "line 1"),
        ("0,nan\n", "line 1"),
        ("\n", "no points"),
        ('"0,1\n2,3,4\n', "line 2"),
        ("0,1\n" + 200_000 * "9", "line 2 is '9{60}…'"),
        ("0,1\n2,5;3\n", "line 2 is '2,5;3'"),
    ],
    ids=[
        "one number",
        "late names",
        "three numbers",
        "no number",
        "nothing",
        "an open quote",
        "endless",
        "commas in numbers",
    ],
)
def test_lines_that_are_no_points_are_named(text, line):
    with pytest.raises(UsageProblem, match=line):
        parse_points(text)


def test_points_are_drawn_with_their_numbers_and_y_upwards():
    lines = [line.plain for line in plane(POINTS, [(0, 1), (1, 3), (3, 0)], {0, 1, 3})]
    row = {number: next(at for at, line in enumerate(lines) if str(number) in line) for number in range(4)}
    assert row[3] < row[2] < row[0] == row[1]
    assert any("\u2800" < character <= "\u28ff" for line in lines for character in line)


def test_points_at_one_place_can_be_drawn():
    assert [line.plain for line in plane([(1, 1), (1, 1)], [(0, 1)], set())] == ["1"]


def test_command_draws_the_answer(tmp_path, transport, server):
    (tmp_path / "points.csv").write_text("x,y\n" + "\n".join(f"{x},{y}" for x, y in POINTS))
    arguments = ["point", str(tmp_path / "points.csv"), "--task", "convex_hull", "--beam", "4"]
    result = CliRunner().invoke(app, [*arguments, "--picture", str(tmp_path / "hull.svg")], obj=transport)
    assert result.exit_code == 0, result.output
    assert "0 1 3" in result.output
    assert "100.00% of the hull's area" in result.output
    assert (tmp_path / "hull.svg").read_bytes() == b"<svg/>"
    assert server.sent[0]["beam_size"] == 4


def test_command_writes_json(transport):
    result = CliRunner().invoke(
        app, ["point", "-", "--task", "tour", "--free", "--json"], input="0,0\n1,1\n", obj=transport
    )
    assert json.loads(result.stdout)["indices"] == [0, 1, 3]
