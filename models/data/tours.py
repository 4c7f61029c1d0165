"""Shortest round trips: exact by dynamic programming, near the optimum by local search, many at once.

Everything works on batches of instances in numpy; ``models.data.geometry`` calls ``solve_tours``.

Legend: B batch, N cities.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

EXACT_CITIES = 12
"""Up to here the dynamic programme is quicker than a search."""

AT_ONCE = 256
"""Instances of one dynamic programme: its table has ``2^(N-1) (N-1)`` entries for each."""

SMALLEST_GAIN = 1e-12


def distances(points_BN2: Floats) -> Floats:
    """Return the distances between all cities of an instance, ``[B, N, N]``."""
    difference_BNN2 = points_BN2[:, :, None] - points_BN2[:, None]
    lengths_BNN: Floats = np.sqrt((difference_BNN2**2).sum(axis=-1))
    return lengths_BNN


def tour_lengths(points_BN2: Floats, tours_BN: Places) -> Floats:
    """Return the length of each round trip, ``[B]``."""
    walked_BN2 = np.take_along_axis(points_BN2, tours_BN[..., None], axis=1)
    steps_BN2 = walked_BN2 - np.roll(walked_BN2, -1, axis=1)
    lengths_B: Floats = np.sqrt((steps_BN2**2).sum(axis=-1)).sum(axis=-1)
    return lengths_B


def solve_tours(points_BN2: Floats, kicks: int, rng: np.random.Generator) -> Places:
    """Return a short round trip of each instance: the shortest up to ``EXACT_CITIES`` cities.

    Args:
        points_BN2: the cities.
        kicks: how often a larger instance's best trip is disturbed and improved anew.
        rng: decides the disturbances.
    """
    count = points_BN2.shape[1]
    if count <= 3:
        return np.tile(np.arange(count), (len(points_BN2), 1))
    if count <= EXACT_CITIES:
        parts = [
            shortest_tours(points_BN2[start : start + AT_ONCE])
            for start in range(0, len(points_BN2), AT_ONCE)
        ]
        return np.concatenate(parts)
    return searched_tours(points_BN2, kicks, rng)


def shortest_tours(points_BN2: Floats) -> Places:
    """Return the shortest round trips from city 0 (Bellman 1962; Held, Karp 1962)."""
    away_BNN = distances(points_BN2)
    batch, last = len(points_BN2), points_BN2.shape[1] - 1
    between_BNN, home_BN = away_BNN[:, 1:, 1:], away_BNN[:, 1:, 0]
    cost = np.full((1 << last, batch, last), np.inf)  # visited cities, then the city one stands in
    for city in range(last):
        cost[1 << city, :, city] = home_BN[:, city]
    for visited in range(1, 1 << last):
        free = [city for city in range(last) if not visited >> city & 1]
        inside = [city for city in range(last) if visited >> city & 1]
        here_BI = cost[visited][:, inside]
        for city in free:
            cost[visited | 1 << city, :, city] = (here_BI + between_BNN[:, inside, city]).min(axis=1)
    tours_BN = np.zeros((batch, last + 1), np.int64)
    rows = np.arange(batch)
    visited_B = np.full(batch, (1 << last) - 1)
    onward_BN = home_BN
    for place in range(last, 0, -1):
        city_B = (cost[visited_B, rows] + onward_BN).argmin(axis=1)
        tours_BN[:, place] = city_B + 1
        visited_B = visited_B & ~(1 << city_B)
        onward_BN = between_BNN[rows, :, city_B]
    return tours_BN


def searched_tours(points_BN2: Floats, kicks: int, rng: np.random.Generator) -> Places:
    """Return short round trips by iterated local search: 2-opt and Or-opt, disturbed by double bridges."""
    away_BNN = distances(points_BN2)
    best_BN = improve_tours(away_BNN, nearest_neighbour_tours(away_BNN))
    best_B = tour_lengths(points_BN2, best_BN)
    for _ in range(kicks):
        tours_BN = improve_tours(away_BNN, _double_bridge(best_BN, rng))
        lengths_B = tour_lengths(points_BN2, tours_BN)
        better_B = lengths_B < best_B - SMALLEST_GAIN
        best_BN[better_B], best_B[better_B] = tours_BN[better_B], lengths_B[better_B]
    return best_BN


def nearest_neighbour_tours(away_BNN: Floats) -> Places:
    """Return the round trips that always go on to the nearest city not yet seen, from city 0."""
    batch, count, _ = away_BNN.shape
    rows = np.arange(batch)
    tours_BN = np.zeros((batch, count), np.int64)
    seen_BN = np.zeros((batch, count), bool)
    for place in range(1, count):
        here_B = tours_BN[:, place - 1]
        seen_BN[rows, here_B] = True
        tours_BN[:, place] = np.where(seen_BN, np.inf, away_BNN[rows, here_B]).argmin(axis=1)
    return tours_BN


def improve_tours(away_BNN: Floats, tours_BN: Places) -> Places:
    """Take the best move, reversing a part or moving up to three cities, until none makes a trip shorter."""
    tours_BN = tours_BN.copy()
    moves = _moves(tours_BN.shape[1])
    active = np.arange(len(tours_BN))
    while len(active):
        own_BN = tours_BN[active]
        walked_BNN = away_BNN[active[:, None, None], own_BN[:, :, None], own_BN[:, None]]
        gains_BM = _gains(walked_BNN, moves)
        best_B = gains_BM.argmax(axis=1)
        improved_B = gains_BM[np.arange(len(active)), best_B] > SMALLEST_GAIN
        active = active[improved_B]
        order_BN = moves.orders[best_B[improved_B]]
        tours_BN[active] = np.take_along_axis(own_BN[improved_B], order_BN, axis=1)
    return tours_BN


class _Moves:
    """All moves on a trip of N cities: which steps each takes out and puts in, and the order it leaves."""

    def __init__(self, orders: Places, removed: Places, added: Places) -> None:
        self.orders, self.removed, self.added = orders, removed, added


_KNOWN: dict[int, _Moves] = {}


def _moves(count: int) -> _Moves:
    """Return the moves as a table, made once for each number of cities."""
    if count not in _KNOWN:
        orders, removed, added = [], [], []
        for order in _neighbours(count):
            after = {(min(a, b), max(a, b)) for a, b in zip(order, np.roll(order, -1), strict=True)}
            before = {(min(a, (a + 1) % count), max(a, (a + 1) % count)) for a in range(count)}
            gone, new = sorted(before - after), sorted(after - before)
            if not gone:
                continue
            pad = [(0, 0)] * (3 - len(gone))  # a step from a city to itself has no length
            orders.append(order)
            removed.append(gone + pad)
            added.append(new + pad)
        flat = np.array([count, 1])
        _KNOWN[count] = _Moves(np.array(orders), np.array(removed) @ flat, np.array(added) @ flat)
    return _KNOWN[count]


def _neighbours(count: int) -> list[list[int]]:
    """Return every order of places that one move leads to."""
    places = list(range(count))
    found = [
        places[: i + 1] + places[i + 1 : j + 1][::-1] + places[j + 1 :]
        for i in range(count - 1)
        for j in range(i + 2, count)
    ]
    for size in (1, 2, 3):
        for start in range(1, count - size + 1):
            part, rest = places[start : start + size], places[:start] + places[start + size :]
            for at in range(1, len(rest) + 1):
                if at != start:
                    found += [rest[:at] + way + rest[at:] for way in (part, part[::-1])]
    return [list(order) for order in dict.fromkeys(map(tuple, found))]


def _gains(walked_BNN: Floats, moves: _Moves) -> Floats:
    """Return how much shorter each move makes each trip, ``[B, M]``."""
    flat_BE = walked_BNN.reshape(len(walked_BNN), -1)
    gains_BM: Floats = flat_BE[:, moves.removed].sum(axis=-1) - flat_BE[:, moves.added].sum(axis=-1)
    return gains_BM


def _double_bridge(tours_BN: Places, rng: np.random.Generator) -> Places:
    """Cut each trip in four and swap the middle parts: what 2-opt and Or-opt cannot undo in one move."""
    batch, count = tours_BN.shape
    cuts_B3 = np.sort(rng.permuted(np.tile(np.arange(1, count), (batch, 1)), axis=1)[:, :3], axis=1)
    place_N = np.arange(count)
    part_BN = (place_N >= cuts_B3[:, :1]).astype(np.int64)
    part_BN = part_BN + (place_N >= cuts_B3[:, 1:2]) + (place_N >= cuts_B3[:, 2:])
    rank_BN = np.array([0, 2, 1, 3])[part_BN] * count + place_N
    return np.take_along_axis(tours_BN, rank_BN.argsort(axis=1), axis=1)
