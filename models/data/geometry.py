"""Points in the unit square with their convex hull, Delaunay triangulation or shortest round trip.

``load_instances`` makes what is asked for once, in several processes if wished, and keeps it in a cache
folder outside the repository; the same seed gives the same instances. ``canonical`` arranges answers the one
way a network is taught.

Legend: C instances, P points, L places of an answer; a place below 0 comes after its end.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, Delaunay

from models.data.exact_tours import proven_tour
from models.data.tours import EXACT_CITIES, solve_tours

Task = Literal["convex_hull", "delaunay", "tour"]

FORMAT = 1
"""Counts the changes of what a cache file of the same name would hold."""

CHUNK = 2_000
"""Instances that a process makes at a time."""


class Instances(NamedTuple):
    """Instances of one size with their answers in any arrangement."""

    points_CP2: NDArray[np.float32]
    answers_CL: NDArray[np.int16]
    """Hull: the corners, counter-clockwise. Tour: the cities. Triangulation: triples, one after another."""


@dataclass(frozen=True)
class Drawing:
    """What is drawn: how many instances of each size, points uniform in the unit square.

    ``counts`` maps a number of points to a number of instances; ``kicks`` is the effort of the search for
    round trips of more than twelve cities (``models.data.tours``); with ``proven`` they are solved exactly.
    """

    task: Task
    counts: Mapping[int, int]
    seed: int
    kicks: int = 20
    proven: bool = False

    @property
    def file(self) -> str:
        """Name the cache file: everything that decides its content is in the name's digest."""
        text = json.dumps([FORMAT, asdict(self)], sort_keys=True)
        return f"{self.task}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.npz"


@dataclass(frozen=True)
class _Order:
    """A part of a drawing, as a process is given it."""

    task: Task
    size: int
    count: int
    seed: tuple[int, ...]
    kicks: int
    proven: bool


def solve(task: Task, points_P2: NDArray[Any]) -> NDArray[np.int64]:
    """Return the answer of one instance: hull corners counter-clockwise, or triples of the triangulation."""
    if task == "convex_hull":
        return np.asarray(ConvexHull(points_P2).vertices, np.int64)
    return np.asarray(Delaunay(points_P2).simplices, np.int64).ravel()


def draw_instances(order: _Order) -> Instances:
    """Draw points and solve them. The answers are those of the float32 coordinates that are kept."""
    rng = np.random.default_rng(order.seed)
    points_CP2 = rng.random((CHUNK, order.size, 2), dtype=np.float32)[: order.count]
    exact_CP2 = points_CP2.astype(np.float64)
    if order.task == "tour":
        if order.proven and order.size > EXACT_CITIES:
            return Instances(points_CP2, np.stack([proven_tour(one) for one in exact_CP2]).astype(np.int16))
        return Instances(points_CP2, solve_tours(exact_CP2, order.kicks, rng).astype(np.int16))
    answers = [solve(order.task, points_P2) for points_P2 in exact_CP2]
    answers_CL = np.full((len(answers), max(map(len, answers))), -1, np.int16)
    for row, answer in zip(answers_CL, answers, strict=True):
        row[: len(answer)] = answer
    return Instances(points_CP2, answers_CL)


def cache_folder() -> Path:
    """Return the folder of generated instances: below ``ENGRAM_CACHE``, else in the user's cache."""
    root = os.environ.get("ENGRAM_CACHE")
    if root:
        return Path(root) / "geometry"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "engram" / "geometry"


def load_instances(
    drawing: Drawing,
    processes: int = 1,
    progress: Callable[[int], Any] = lambda done: None,
    folder: Path | None = None,
) -> dict[int, Instances]:
    """Return the instances by size, from the cache or made now.

    Args:
        drawing: what is wanted.
        processes: how many work on it.
        progress: told the number of instances that are ready.
        folder: the cache; by default that of the user.
    """
    path = (folder or cache_folder()) / drawing.file
    if not path.exists():
        made = _draw(drawing, processes, progress)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        arrays: dict[str, Any] = {}
        for size, (points_CP2, answers_CL) in made.items():
            arrays |= {f"points_{size}": points_CP2, f"answers_{size}": answers_CL}
        with partial.open("wb") as file:
            np.savez(file, **arrays)
        partial.replace(path)
    with np.load(path) as content:
        return {
            size: Instances(content[f"points_{size}"], content[f"answers_{size}"]) for size in drawing.counts
        }


def _draw(drawing: Drawing, processes: int, progress: Callable[[int], Any]) -> dict[int, Instances]:
    orders = [
        _Order(
            drawing.task,
            size,
            min(CHUNK, count - first),
            (drawing.seed, size, first),
            drawing.kicks,
            drawing.proven,
        )
        for size, count in drawing.counts.items()
        for first in range(0, count, CHUNK)
    ]
    parts: dict[int, list[Instances]] = {size: [] for size in drawing.counts}
    done = 0
    for order, part in zip(orders, _map(orders, processes), strict=True):
        parts[order.size].append(part)
        done += order.count
        progress(done)
    return {size: _joined(own) for size, own in parts.items()}


def _map(orders: list[_Order], processes: int) -> Iterator[Instances]:
    if processes <= 1:
        yield from map(draw_instances, orders)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(draw_instances, orders)


def _joined(parts: list[Instances]) -> Instances:
    longest = max(part.answers_CL.shape[1] for part in parts)
    answers = [
        np.pad(part.answers_CL, ((0, 0), (0, longest - part.answers_CL.shape[1])), constant_values=-1)
        for part in parts
    ]
    return Instances(np.concatenate([part.points_CP2 for part in parts]), np.concatenate(answers))


def canonical(
    task: Task, points_CP2: NDArray[Any], answers_CL: NDArray[Any], ranks_CP: NDArray[Any]
) -> NDArray[np.int64]:
    """Arrange answers the one way that is taught, so that a question has one right answer.

    A hull begins with its corner of lowest rank and goes on counter-clockwise; a round trip begins with the
    city of lowest rank and takes the direction whose next city has the lower one; triangles come in fans
    (``_fans``), for which ranks must grow with x.

    Args:
        task: what the answers are.
        points_CP2: the points; a hull's direction depends on them.
        answers_CL: places of the points.
        ranks_CP: the place of each point in the order in which the network reads them.

    Returns:
        Places of the points, int64 ``[C, L]``, below 0 after the end.
    """
    if task == "delaunay":
        return _fans(points_CP2, answers_CL, ranks_CP)
    length_C1 = (answers_CL >= 0).sum(axis=1, keepdims=True)
    places_CL = np.maximum(answers_CL, 0).astype(np.int64)
    walked_CL = np.where(answers_CL >= 0, np.take_along_axis(ranks_CP, places_CL, axis=1), np.iinfo(int).max)
    first_C1 = walked_CL.argmin(axis=1)[:, None]
    if task == "convex_hull":
        forward_C1 = _areas(points_CP2, places_CL, length_C1)[:, None] > 0
    else:
        after_C1 = np.take_along_axis(walked_CL, (first_C1 + 1) % length_C1, axis=1)
        before_C1 = np.take_along_axis(walked_CL, (first_C1 - 1) % length_C1, axis=1)
        forward_C1 = after_C1 <= before_C1
    step_L = np.arange(answers_CL.shape[1])
    turned_CL = (first_C1 + np.where(forward_C1, step_L, -step_L)) % length_C1
    return np.where(step_L < length_C1, np.take_along_axis(places_CL, turned_CL, axis=1), -1)


def _areas(points_CP2: NDArray[Any], places_CL: NDArray[np.int64], length_C1: NDArray[Any]) -> NDArray[Any]:
    """Return the signed double areas of polygons; places after the end repeat the first corner."""
    step_L = np.arange(places_CL.shape[1])
    closed_CL = np.where(step_L < length_C1, places_CL, places_CL[:, :1])
    x_CL, y_CL = np.moveaxis(np.take_along_axis(points_CP2, closed_CL[..., None], axis=1), -1, 0)
    doubled_C: NDArray[Any] = (x_CL * np.roll(y_CL, -1, 1) - y_CL * np.roll(x_CL, -1, 1)).sum(axis=1)
    return doubled_C


def _fans(points_CP2: NDArray[Any], answers_CL: NDArray[Any], ranks_CP: NDArray[Any]) -> NDArray[np.int64]:
    """Arrange triangles in fans: a triangle begins with its corner of lowest rank and turns left.

    Triangles with the same first corner follow each other counter-clockwise, so that each begins with the
    side on which the one before ended; the fans come in the order of their first corners.
    """
    batch = len(answers_CL)
    places_CL = np.maximum(answers_CL, 0).astype(np.int64)
    triples_CT3 = places_CL.reshape(batch, -1, 3)
    ranks_CT3 = np.take_along_axis(ranks_CP, places_CL, axis=1).reshape(triples_CT3.shape)
    turn_CT3 = (ranks_CT3.argmin(axis=-1)[..., None] + np.arange(3)) % 3
    triples_CT3 = np.take_along_axis(triples_CT3, turn_CT3, axis=-1)
    at_CT32 = points_CP2.astype(np.float64)[np.arange(batch)[:, None, None], triples_CT3]
    one_CT2, other_CT2 = at_CT32[:, :, 1] - at_CT32[:, :, 0], at_CT32[:, :, 2] - at_CT32[:, :, 0]
    right_CT = one_CT2[..., 0] * other_CT2[..., 1] < one_CT2[..., 1] * other_CT2[..., 0]
    triples_CT3 = np.where(right_CT[..., None], triples_CT3[..., [0, 2, 1]], triples_CT3)
    angle_CT = np.arctan2(*np.moveaxis(np.where(right_CT[..., None], other_CT2, one_CT2), -1, 0)[::-1])
    first_CT = np.where(answers_CL[:, ::3] < 0, ranks_CP.shape[1], ranks_CT3.min(axis=-1))
    order_CT = np.lexsort((angle_CT, first_CT), axis=1)
    fans_CL = np.take_along_axis(triples_CT3, order_CT[..., None], axis=1).reshape(batch, -1)
    return np.where(answers_CL >= 0, fans_CL, -1)


SYMMETRIES = 8
"""Of the square; each turns an instance into another one with the same answer."""


def mirrored(points_CP2: NDArray[np.float32], symmetry: int) -> NDArray[np.float32]:
    """Apply one of the eight symmetries of the unit square."""
    points_CP2 = points_CP2[..., ::-1] if symmetry & 4 else points_CP2
    flip = np.array([symmetry & 1, symmetry >> 1 & 1], np.float32)
    return np.ascontiguousarray(flip + (1 - 2 * flip) * points_CP2)
