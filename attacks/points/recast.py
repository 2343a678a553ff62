"""Rays on boxes: what a sensor would have measured with other traffic, where nobody can cast rays at the place itself.

On recorded data there are no surfaces to cast at. A car put in is its box: rays through it end on the box, and what is
behind is in its shadow. A car taken out is the points in its box: their rays go on to the ground about it.

Held against the simulator's meshes (tests/simulation/test_recast.py): every ray that a car's mesh stops its box stops
too, at a median distance of 0.08 m; three in ten of those that a box stops pass above the bonnet or below the bumpers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from robosac.types import Array, Bool, Float32, Float64, View

_MARGIN_M: Final = 0.2  # a box is that much smaller than the points on its car
_CLEAR_M: Final = 0.15  # points less high above the ground are the ground's
_CELL_M: Final = 2.0
_NEAR_M: Final = 60.0


def box_spans(rays: Array, boxes: Array) -> tuple[Float64, Float64]:
    """Where rays from the origin enter and leave boxes: slab test on oriented boxes.

    Args:
        rays: unit directions `(N, 3)`.
        boxes: `(M, 7)` in the same frame, upright.

    Returns:
        Ranges in metres `(N, M)` at which each ray enters and leaves each box; enter > leave where it misses.
    """
    b = np.asarray(boxes, np.float64)
    cos, sin = np.cos(b[:, 6]), np.sin(b[:, 6])
    along = np.asarray(rays, np.float64)

    def turned(x: Array, y: Array) -> tuple[Array, Array]:
        return cos * x + sin * y, cos * y - sin * x

    ways = [*turned(along[:, :1], along[:, 1:2]), np.broadcast_to(along[:, 2:3], (len(along), len(b)))]
    origin = [*turned(-b[:, 0], -b[:, 1]), -b[:, 2]]
    enter, leave = np.full((len(along), len(b)), -np.inf), np.full((len(along), len(b)), np.inf)
    for way, start, size in zip(ways, origin, (b[:, 3], b[:, 4], b[:, 5]), strict=True):
        safe = np.where(np.abs(way) < 1e-12, 1e-12, way)
        low, high = (-size / 2 - start) / safe, (size / 2 - start) / safe
        enter, leave = np.maximum(enter, np.minimum(low, high)), np.minimum(leave, np.maximum(low, high))
    return enter, leave


def in_boxes(points: Array, boxes: Array, *, margin_m: float = 0.0) -> Bool:
    """Which points `(N, >=3)` are in which boxes `(M, 7)`, widened to all sides: `(N, M)`."""
    b = np.asarray(boxes, np.float64)
    dx, dy, dz = (np.asarray(points[:, k, None], np.float64) - b[:, k] for k in range(3))
    cos, sin = np.cos(b[:, 6]), np.sin(b[:, 6])
    along, across = cos * dx + sin * dy, cos * dy - sin * dx
    inside = np.abs(along) <= b[:, 3] / 2 + margin_m
    inside &= np.abs(across) <= b[:, 4] / 2 + margin_m
    inside &= np.abs(dz) <= b[:, 5] / 2 + margin_m
    return np.asarray(inside)


def ground_plane(points: Array) -> Float64 | None:
    """The plane `(3,)` [a b c], `z = a + b x + c y`, that a scan `(N, >=3)` shows as ground; None where it shows none.

    Lowest points of cells of 2 m; those well above the plane of the others (a roof, a hedge) are left out in turns.
    """
    near = np.asarray(points[np.hypot(points[:, 0], points[:, 1]) < _NEAR_M, :3], np.float64)
    cells = np.floor((near[:, :2] + _NEAR_M) / _CELL_M).astype(np.int64)
    flat = cells[:, 0] * 1000 + cells[:, 1]
    order = np.lexsort((near[:, 2], flat))
    low = near[order[np.diff(flat[order], prepend=-1) != 0]]
    for _ in range(8):
        if len(low) < 3:
            return None
        columns = np.column_stack([np.ones(len(low)), low[:, :2]])
        plane = np.linalg.lstsq(columns, low[:, 2], rcond=None)[0]
        over = low[:, 2] - columns @ plane
        kept = over <= max(0.1, 1.5 * float(np.median(np.abs(over))))
        if kept.all():
            break
        low = low[kept]
    return np.asarray(plane, np.float64)


@dataclass(frozen=True)
class BoxWorld:
    """`robosac.air.World` from a scan alone.

    Attributes:
        intensity: of returns from cars that are not there.
        max_range_m: rays that would go on further are lost.
    """

    intensity: float = 0.35
    max_range_m: float = 100.0

    def seen(self, view: View, *, added: Float32, removed: Float32) -> Float32:
        """Points `(N', 4)` of the sensor of `view` with boxes `added` `(M, 7)` and without `removed` `(K, 7)`.

        A ray freed of its car ends on the plane of the scan's ground; it is lost where that is none, or too far.
        """
        points = view.points.astype(np.float64)
        distance = np.linalg.norm(points[:, :3], axis=1)
        rays = points[:, :3] / np.maximum(distance, 1e-6)[:, None]
        reach, power, plane = distance.copy(), points[:, 3].copy(), ground_plane(points)
        if len(removed):
            freed = in_boxes(points, removed, margin_m=_MARGIN_M).any(axis=1)
            if plane is not None:
                freed &= points[:, 2] > plane[0] + points[:, :2] @ plane[1:] + _CLEAR_M
                slope = rays[:, 2] - rays[:, :2] @ plane[1:]
                ground = np.where(slope < -1e-6, plane[0] / np.minimum(slope, -1e-6), np.inf)
            else:
                ground = np.full(len(rays), np.inf)
            reach = np.where(freed, np.where(ground <= self.max_range_m, ground, np.inf), distance)
            bare = np.median(power[~freed]) if (~freed).any() else 0.0
            power = np.where(freed, bare, power)
        if len(added):
            enter, leave = box_spans(rays, added)
            meets = np.where((enter <= leave) & (enter > 0), enter, np.inf).min(axis=1)
            stopped = meets < reach
            reach, power = np.where(stopped, meets, reach), np.where(stopped, self.intensity, power)
        out: Float32 = view.points.copy()
        moved = reach != distance
        out[moved, :3] = rays[moved] * np.where(np.isfinite(reach[moved]), reach[moved], 0.0)[:, None]
        out[moved, 3] = power[moved]
        return np.asarray(out[np.isfinite(reach)])
