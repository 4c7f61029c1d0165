"""What a pointer network sees of points in the plane: normalised places, an order, how points lie to others.

Legend: B batch, P points (the stop included), S steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

PADDING, POINT, STOP = 0, 1, 2
"""The kinds of elements."""

FAR_BELOW = -1e9
"""The logit of an element that may not be chosen: finite, so that no row can become NaN."""

SIGHTS = 6
"""Numbers that tell how a point lies to two others."""

LAST = 1e6
"""The sorting key of what is no point: it comes after every point."""


def normalised(points_BP2: Tensor, kinds_BP: Tensor) -> Tensor:
    """Move the middle of the points to 0 and scale their larger extent to 1; what is no point becomes 0."""
    real_BP1 = (kinds_BP == POINT).unsqueeze(-1)
    lowest_B12 = points_BP2.masked_fill(~real_BP1, -FAR_BELOW).amin(dim=1, keepdim=True)
    highest_B12 = points_BP2.masked_fill(~real_BP1, FAR_BELOW).amax(dim=1, keepdim=True)
    extent_B11 = (highest_B12 - lowest_B12).amax(dim=-1, keepdim=True)
    extent_B11 = torch.where(extent_B11 > 0, extent_B11, torch.ones_like(extent_B11))
    return torch.where(
        real_BP1, (points_BP2 - (lowest_B12 + highest_B12) / 2) / extent_B11, torch.zeros_like(points_BP2)
    )


def reading_keys(points_BP2: Tensor, kinds_BP: Tensor, order: str) -> Tensor:
    """Return the keys ``[B, P]`` by which the encoder reads the points; the smallest comes first.

    Args:
        points_BP2: float coordinates, normalised.
        kinds_BP: int64, 1 on points.
        order: ``given``, ``x`` or ``angle``.
    """
    real_BP = kinds_BP == POINT
    if order == "x":
        keys_BP = points_BP2[..., 0]
    elif order == "angle":
        keys_BP = _angles(points_BP2, real_BP)
    else:
        keys_BP = real_BP.to(points_BP2.dtype).cumsum(dim=-1)
    return torch.where(real_BP, keys_BP, LAST + (kinds_BP == PADDING).to(keys_BP.dtype))


def _angles(points_BP2: Tensor, real_BP: Tensor) -> Tensor:
    """Return angles around the centre in 0..4, counted from the lowest point.

    They are no real angles but grow with them: ``x / (|x| + |y|)``, unfolded; graphs have no arctangent of
    two numbers.
    """
    real_BP1 = real_BP.unsqueeze(-1).to(points_BP2.dtype)
    count_B11 = real_BP1.sum(dim=1, keepdim=True).clamp(min=1)
    x_BP, y_BP = (points_BP2 - (points_BP2 * real_BP1).sum(dim=1, keepdim=True) / count_B11).unbind(-1)
    share_BP = x_BP / (x_BP.abs() + y_BP.abs()).clamp(min=1e-20)
    angle_BP = torch.where(y_BP < 0, 1 + share_BP, 3 - share_BP)
    lowest_B1 = y_BP.masked_fill(~real_BP, -FAR_BELOW).argmin(dim=1, keepdim=True)
    turned_BP = angle_BP - angle_BP.gather(1, lowest_B1)
    return torch.where(turned_BP < 0, turned_BP + 4, turned_BP)


def sights(points_BP2: Tensor, last_BS: Tensor, before_BS: Tensor) -> Tensor:
    """Return how each point lies to the last two chosen.

    Args:
        points_BP2: the points.
        last_BS: int64, the point chosen last; below 0 there was none yet.
        before_BS: int64, the one before.

    Returns:
        ``[B, S, P, 6]``: direction (a unit vector) and distance from the last one; cosine and sine of the
        turn there, for one who comes from the one before; cosine of the angle under which the point sees
        both. Zeros where there was none.
    """
    last_BS12, before_BS12 = _at(points_BP2, last_BS), _at(points_BP2, before_BS)
    away_BSP2, length_BSP1 = _unit(points_BP2.unsqueeze(1) - last_BS12)
    other_BSP2, _ = _unit(points_BP2.unsqueeze(1) - before_BS12)
    came_BS12, _ = _unit(last_BS12 - before_BS12)
    has_last_BS11 = (last_BS >= 0).to(points_BP2.dtype)[..., None, None]
    has_both_BS11 = (before_BS >= 0).to(points_BP2.dtype)[..., None, None]
    pair_BSP4 = torch.cat([came_BS12.expand_as(away_BSP2), other_BSP2], dim=-1)
    products_BSP4 = pair_BSP4 * torch.cat([away_BSP2, away_BSP2], dim=-1)
    cosines_BSP2 = torch.stack(
        [products_BSP4[..., :2].sum(dim=-1), products_BSP4[..., 2:].sum(dim=-1)], dim=-1
    )
    sine_BSP1 = came_BS12[..., :1] * away_BSP2[..., 1:] - came_BS12[..., 1:] * away_BSP2[..., :1]
    return torch.cat(
        [
            torch.cat([away_BSP2, length_BSP1], dim=-1) * has_last_BS11,
            torch.cat([cosines_BSP2, sine_BSP1], dim=-1) * has_both_BS11,
        ],
        dim=-1,
    )


def _at(points_BP2: Tensor, places_BS: Tensor) -> Tensor:
    at_BS2 = places_BS.clamp(min=0).unsqueeze(-1).expand(-1, -1, 2)
    return points_BP2.gather(1, at_BS2).unsqueeze(2)


def _unit(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Return unit vectors and lengths; a vector of no length stays one."""
    length = vectors.square().sum(dim=-1, keepdim=True).sqrt()
    return vectors / length.clamp(min=1e-6), length
