"""The committed pointer networks over HTTP, through the SDK: answers, pictures, bad geometry."""

import shutil
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import numpy as np
import pytest

from engram import AsyncClient, InputTooLong, InvalidRequest, ItemError
from server.app import create_app
from server.settings import Settings

BUNDLES = Path(__file__).parents[2] / "model_repository"
RING = [(9.0, 5.0), (1.0, 1.0), (5.0, 4.5), (8.0, 9.0), (2.0, 8.0), (7.5, 0.5), (5.5, 6.0)]


@asynccontextmanager
async def client_of(tmp_path, *names):
    for name in names:
        shutil.copytree(BUNDLES / name, tmp_path / name)
    app = create_app(Settings(model_repository=tmp_path, grpc_port=0, warm_up=False))
    transport = httpx2.ASGITransport(app=app)
    async with app.router.lifespan_context(app), AsyncClient("http://engram", transport=transport) as client:
        yield client


async def test_hull_of_points_at_any_scale(tmp_path):
    async with client_of(tmp_path, "pointer-convex-hull") as client:
        near = await client.point(RING, "convex_hull")
        far = await client.point([(1e6 + 1e-2 * x, 1e-2 * y - 1e6) for x, y in RING], "convex_hull")
        picture = await client.point_picture(RING, "convex_hull")
        found = await client.point_many(
            [{"points": some, "task": "convex_hull"} for some in (RING, RING[:1], RING)]
        )
        with pytest.raises(InvalidRequest, match="on one line"):
            await client.point([(0, 0), (1, 1), (2, 2)], "convex_hull")
        with pytest.raises(InputTooLong):
            await client.point(np.random.default_rng(1).random((10_000, 2)), "convex_hull")
        with pytest.raises(InvalidRequest):
            await client.point([(0, 0), (1,), (2, 2)], "convex_hull")
    assert near.valid
    assert set(near.indices) == {0, 1, 3, 4, 5}
    assert near.measures.area_coverage == pytest.approx(1)
    assert near.indices == far.indices
    np.testing.assert_allclose(near.attention.weights.sum(axis=1), 1, atol=1e-5)
    assert near.attention.axis("point").labels[-1] == "stop"
    assert picture.startswith(b"<svg")
    assert isinstance(found[1], ItemError)
    np.testing.assert_allclose(found[0].attention.weights, near.attention.weights, atol=1e-5)


async def test_tours_are_valid_and_no_longer_than_a_simple_heuristic(tmp_path):
    async with client_of(tmp_path, "pointer-tour") as client:
        answer = await client.point(RING, "tour", beam_size=16)
        greedy = await client.point(RING, "tour", beam_size=1, attention="top", attention_top_k=2)
    assert sorted(answer.indices) == list(range(len(RING)))
    assert answer.measures.length <= answer.measures.heuristic_length * (1 + 1e-9)
    assert answer.measures.length <= greedy.measures.length * (1 + 1e-9)


async def test_triangulation_covers_the_hull_and_refuses_doubles(tmp_path):
    async with client_of(tmp_path, "pointer-delaunay") as client:
        answer = await client.point(RING, "delaunay")
        with pytest.raises(InvalidRequest, match="same place") as refusal:
            await client.point([*RING, RING[2]], "delaunay")
    assert answer.valid
    assert answer.measures.triangle_coverage > 0.5
    assert all(len(triangle) == 3 for triangle in answer.indices)
    assert refusal.value.details["fields"] == ["points[7]"]
