"""Ground that the ego's own rays show to be free: no box of a teammate can stand there, whatever pose it claims."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.ndimage import binary_dilation

from robosac.poses.objects import Objects
from robosac.types import BevGrid, Bool, Float32, Float64
from robosac.visibility import seen_cells

_GRID: Final = BevGrid(-42.0, -42.0, 0.7, 120, 120)
_LOW_M, _HIGH_M = 0.4, 2.5  # what ends in between, above the ground, is an object
_SHARE: Final = 0.6  # of a box's inner part on free ground, from which on there is no object


@dataclass(frozen=True, eq=False)
class FreeGround:
    """Cells `(H, W)` of a grid in the ego frame that are proved to be free."""

    free: Bool
    grid: BevGrid

    @staticmethod
    def of(points: Float32) -> FreeGround:
        """From the ego's points `(N, 4)`, sensor frame: rays passed below a car's height, and nothing stands there."""
        xyz = np.asarray(points[:, :3], np.float64)
        xyz = xyz[np.isfinite(xyz).all(axis=1)]
        seen = seen_cells(points, _GRID, steps=40, max_rays=16384) > 0
        if not len(xyz):
            return FreeGround(np.zeros_like(seen), _GRID)
        xyz = xyz[_GRID.contains(xyz)]
        row, col = _GRID.cells(xyz)
        cell = row * _GRID.cols + col
        ground = np.full(_GRID.rows * _GRID.cols, np.inf)
        np.minimum.at(ground, cell, xyz[:, 2])
        level = np.full_like(ground, np.nan)
        level[np.isfinite(ground)] = ground[np.isfinite(ground)]
        base = float(np.nanpercentile(level, 20)) if np.isfinite(ground).any() else 0.0
        height = xyz[:, 2] - np.where(np.abs(level[cell] - base) < 1.0, level[cell], base)
        stands = np.zeros(_GRID.rows * _GRID.cols, np.bool_)
        stands[cell[(height > _LOW_M) & (height < _HIGH_M)]] = True
        blocked = binary_dilation(stands.reshape(_GRID.rows, _GRID.cols))
        return FreeGround(np.asarray(seen & ~blocked), _GRID)

    def refuted(self, objects: Objects, vectors: Float64, pivot: Float64) -> Bool:
        """Which objects would stand on free ground, `(..., N)` for motions `(..., 3)` about a pivot."""
        along, across = (np.linspace(-0.3, 0.3, n) for n in (5, 3))
        u, v = (g.ravel() for g in np.meshgrid(along, across))
        cos, sin = np.cos(objects.yaw)[:, None], np.sin(objects.yaw)[:, None]
        dx, dy = u * objects.size[:, :1], v * objects.size[:, 1:]
        x = objects.xy[:, :1] - pivot[0] + cos * dx - sin * dy  # (N, S)
        y = objects.xy[:, 1:] - pivot[1] + sin * dx + cos * dy
        at_x, at_y, yaw = (vectors[..., k, None, None] for k in range(3))
        cos, sin = np.cos(yaw), np.sin(yaw)
        grid = self.grid
        col = (cos * x - sin * y + (at_x + pivot[0] - grid.x_min_m)) / grid.cell_m
        row = (sin * x + cos * y + (at_y + pivot[1] - grid.y_min_m)) / grid.cell_m
        inside = (col >= 0) & (col < grid.cols) & (row >= 0) & (row < grid.rows)
        cell = np.where(inside, row, 0.0).astype(np.intp) * grid.cols + np.where(inside, col, 0.0).astype(np.intp)
        return np.asarray((self.free.ravel()[cell] & inside).mean(axis=-1) >= _SHARE)
