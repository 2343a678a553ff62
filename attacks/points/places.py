"""Where a car could stand: free ground that the attackers see well."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from scipy.ndimage import minimum_filter, uniform_filter

from robosac.attacks.points.recast import ground_plane
from robosac.types import Array, Float32, Float64

CAR_M: Final = (4.5, 1.9, 1.6)
NO_BOXES: Final = np.zeros((0, 7), np.float32)
_APART_M: Final = 12.0  # between cars put in: nobody can take two for one
_CELL_M: Final = 0.5
_COVERED: Final = 10  # cells with ground of about 90: two or three rings of a sweep at 20 m
_LEVEL_M: Final = 0.8
_BEST: Final = 8  # places, half a metre from one another, that are as good as the best


def free_places(points: Array, nearest_m: float, furthest_m: float) -> Float32:
    """Cars `(M, 7)` that would stand on free ground, those on the best seen ground first.

    Args:
        points: `(N, >=3)` what is seen, ego frame.
        nearest_m, furthest_m: distance of the centres from the ego.

    Cars point as the ego does. The ground is free where points are on it, all over the place, and none above it, up to
    a metre from the car; its height is the lowest point within 2 m, and near the plane of all ground (no roof).
    """
    plane = ground_plane(points)
    if plane is None:
        return NO_BOXES
    half = math.ceil((furthest_m + CAR_M[0]) / _CELL_M)
    side = 2 * half
    col, row = (np.floor(points[:, k] / _CELL_M).astype(np.int64) + half for k in (0, 1))
    inside = (col >= 0) & (col < side) & (row >= 0) & (row < side)
    z, flat = points[inside, 2].astype(np.float64), (row * side + col)[inside]
    lowest = np.full(side * side, np.inf)
    np.minimum.at(lowest, flat, z)
    ground = minimum_filter(lowest.reshape(side, side), size=9, mode="nearest").ravel()
    above = z - ground[flat]
    on_it = np.bincount(flat[above < 0.3], minlength=side * side).reshape(side, side)
    in_way = np.bincount(flat[(above >= 0.3) & (above < 3.0)], minlength=side * side).reshape(side, side)
    footprint = [math.ceil((m + 2.0) / _CELL_M) for m in (CAR_M[1], CAR_M[0])]

    def total(count: Array) -> Float64:
        mean = uniform_filter(count.astype(np.float64), size=footprint, mode="constant")
        return np.asarray(np.round(mean * footprint[0] * footprint[1]), np.float64)

    covered = total(on_it > 0)
    rows, cols = np.indices((side, side))
    x, y = (cols + 0.5 - half) * _CELL_M, (rows + 0.5 - half) * _CELL_M
    distance = np.hypot(x, y)
    level = np.abs(ground.reshape(side, side) - (plane[0] + plane[1] * x + plane[2] * y)) < _LEVEL_M
    good = level & (total(in_way) == 0) & (covered >= _COVERED) & (distance >= nearest_m) & (distance <= furthest_m)
    at = np.flatnonzero(good)
    at = at[np.argsort(-total(on_it).ravel()[at], kind="stable")]
    boxes = np.zeros((len(at), 7), np.float32)
    boxes[:, 0], boxes[:, 1] = x.ravel()[at], y.ravel()[at]
    boxes[:, 2] = ground[at] + CAR_M[2] / 2
    boxes[:, 3:6] = CAR_M
    return boxes


def spread(free: Float32, count: int, rng: np.random.Generator) -> Float32:
    """At most `count` of the places `(M, 7)`, well apart, each drawn among the best of those that are left."""
    chosen: list[Float32] = []
    while len(chosen) < count and len(free):
        chosen.append(free[rng.integers(min(len(free), _BEST))])
        free = free[np.hypot(free[:, 0] - chosen[-1][0], free[:, 1] - chosen[-1][1]) >= _APART_M]
    return np.stack(chosen) if chosen else NO_BOXES
