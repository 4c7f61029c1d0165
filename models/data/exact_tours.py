"""The shortest round trip of one instance, proven: an integer programme with cuts for separate loops.

Slow beside ``models.data.tours`` (tenths of a second for twenty cities), and meant for what results are
compared with.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from models.data.tours import Floats, Places

Loop = list[int]


def proven_tour(points_N2: Floats) -> Places:
    """Return the shortest round trip of at least three cities.

    Every city has two of the chosen sides (Dantzig, Fulkerson, Johnson 1954); as long as the solution falls
    into separate loops, each loop is forbidden and the programme is solved again.
    """
    count = len(points_N2)
    ends_E2 = np.array([(a, b) for a in range(count) for b in range(a + 1, count)])
    lengths_E = np.sqrt(((points_N2[ends_E2[:, 0]] - points_N2[ends_E2[:, 1]]) ** 2).sum(axis=1))
    sides = np.arange(len(ends_E2))
    degrees = csr_array(
        (np.ones(2 * len(sides)), (ends_E2.T.ravel(), np.tile(sides, 2))), shape=(count, len(sides))
    )
    constraints = [LinearConstraint(degrees, 2, 2)]
    while True:
        result = milp(
            lengths_E,
            constraints=constraints,
            integrality=np.ones(len(sides)),
            bounds=Bounds(0, 1),
            options={"mip_rel_gap": 0.0},
        )
        if result.x is None:
            raise RuntimeError(f"the integer programme of a round trip was not solved: {result.message}")
        loops = _loops(ends_E2[result.x > 0.5], count)
        if len(loops) == 1:
            return np.array(loops[0])
        inside_LE = np.array([np.isin(ends_E2, loop).all(axis=1) for loop in loops], np.float64)
        constraints.append(LinearConstraint(csr_array(inside_LE), -np.inf, [len(loop) - 1 for loop in loops]))


def _loops(sides_N2: NDArray[np.int64], count: int) -> list[Loop]:
    """Walk along the sides; every city has two."""
    beside: list[list[int]] = [[] for _ in range(count)]
    for one, other in sides_N2.tolist():
        beside[one].append(other)
        beside[other].append(one)
    loops: list[Loop] = []
    seen: set[int] = set()
    for start in range(count):
        loop, here = [], start
        while here not in seen:
            seen.add(here)
            loop.append(here)
            here = next((place for place in beside[here] if place not in seen), here)
        if loop:
            loops.append(loop)
    return loops
