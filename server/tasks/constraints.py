"""What may be pointed at next, so that an answer of the task ``point`` can still become a valid one.

A constraint is a value: ``follow`` returns the one that holds after a choice. Elements are points, behind a
stop in the first place; round trips need no constraint, because their graphs offer no point twice.

Legend: P points, E elements, T triangles.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from server.tasks.plane import (
    NEGLIGIBLE,
    Flags,
    Places,
    Points,
    all_triangles,
    doubled_areas,
    is_empty,
    overlaps,
)

STOP = 0
"""Where the stop is among the elements."""


class Constraint(Protocol):
    """What may be chosen after the choices made so far."""

    def allowed(self) -> Flags:
        """Return for each element whether it may be chosen, ``[E]``."""
        ...

    def follow(self, element: int) -> Constraint:
        """Return the constraint after this choice, which is not the stop."""
        ...


@dataclass(frozen=True)
class Anything:
    """No constraint: the network decides alone."""

    elements: int

    def allowed(self) -> Flags:
        """Allow everything."""
        return np.ones(self.elements, bool)

    def follow(self, element: int) -> Anything:
        """Stay the same."""
        return self


@dataclass(frozen=True)
class ConvexPolygon:
    """Corners go counter-clockwise, and with each further one the polygon stays convex."""

    points_P2: Points
    corners: tuple[int, ...] = ()

    def allowed(self) -> Flags:
        """Allow what lies to the left at both ends of the chain and beyond its closing side."""
        may_stop = len(self.corners) > 2
        return np.concatenate([[may_stop], self._points()])

    def _points(self) -> Flags:
        if not self.corners:
            return np.ones(len(self.points_P2), bool)
        at = self.points_P2
        first, last = at[self.corners[0]], at[self.corners[-1]]
        if len(self.corners) == 1:
            elsewhere: Flags = (at != last).any(axis=1)
            return elsewhere
        left_at_last = doubled_areas(at[self.corners[-2]], last, at) > NEGLIGIBLE
        left_at_first = doubled_areas(first, at[self.corners[1]], at) > NEGLIGIBLE
        if len(self.corners) == 2:
            return left_at_last
        beyond_P = doubled_areas(last, first, at) < -NEGLIGIBLE
        return left_at_last & left_at_first & beyond_P

    def follow(self, element: int) -> ConvexPolygon:
        """Add a corner."""
        return replace(self, corners=(*self.corners, element - 1))


@dataclass(frozen=True)
class Triangulation:
    """Triangles are empty and do not overlap; the end comes when they cover the hull, and not before."""

    points_P2: Points
    triangles_T3: Places
    free_T: Flags
    chosen: tuple[int, ...] = ()

    @classmethod
    def of(cls, points_P2: Points) -> Triangulation:
        """Return the constraint before the first choice."""
        triangles_T3 = all_triangles(points_P2)
        return cls(points_P2, triangles_T3, is_empty(points_P2, triangles_T3))

    def allowed(self) -> Flags:
        """Allow the corners of free triangles that have the corners chosen so far."""
        fitting_T = self.free_T.copy()
        for place in self.chosen:
            fitting_T &= (self.triangles_T3 == place).any(axis=1)
        allowed_P = np.zeros(len(self.points_P2), bool)
        allowed_P[self.triangles_T3[fitting_T].ravel()] = True
        allowed_P[list(self.chosen)] = False
        covered = not self.chosen and not allowed_P.any()
        return np.concatenate([[covered], allowed_P])

    def follow(self, element: int) -> Triangulation:
        """Add a corner, and with the third one a triangle."""
        chosen = (*self.chosen, element - 1)
        if len(chosen) < 3:
            return replace(self, chosen=chosen)
        matches_T = (np.sort(self.triangles_T3, axis=1) == sorted(chosen)).all(axis=1)
        triangle = self.triangles_T3[matches_T.argmax()]
        free_T = self.free_T & ~overlaps(self.points_P2, self.triangles_T3, triangle)
        return replace(self, free_T=free_T, chosen=())
