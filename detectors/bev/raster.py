"""From a scan to a bird's-eye-view raster of occupancy bits in bins of height above the local ground.

The ground is estimated from the points themselves: the lowest return of each coarse cell, a plane through those by a
few asymmetric reweighted least-squares steps (most of the high minima are walls and roofs), and on top of
the plane a smooth, clipped correction per coarse cell. So the mount height (2 m on a car, 5.5 m on a pole), sensor
tilt and slopes need not be known, and simulated and real scans look alike to the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from robosac.types import Array, BevGrid, Float32, InputError, Int64

RASTER: Final = BevGrid(x_min_m=-38.4, y_min_m=-38.4, cell_m=0.3, rows=256, cols=256)  # of the small models
COARSE: Final = 16  # raster cells a coarse cell, each way
BIN_EDGES_M: Final = (0.3, 0.6, 0.9, 1.2, 1.6, 2.2, 3.2)  # bit 0 is the ground, bit 7 everything above 3.2 m
BINS: Final = len(BIN_EDGES_M) + 1

_BELOW_M: Final = -1.0  # returns further below the ground are reflections
_LOCAL_CLIP_M: Final = 0.4  # largest correction of the plane: more is a car or a wall, not the ground
_QUANTILE: Final = 0.2  # of the coarse minima are below the plane
_ITERATIONS: Final = 8
_LEVEL: Final = 2000.0  # prior on the slopes: about two cells 30 m away that say "level"
_DEFAULT_MOUNT_M: Final = 2.0  # where there are no points to tell


@dataclass(frozen=True, eq=False)
class Raster:
    """One rasterised scan.

    Attributes:
        bits: `(R, C)` uint8; bit `b` of a cell is set where a point fell into height bin `b`; rows run along +y,
            columns along +x, on the grid it was made on, in the sensor frame.
        plane: `(3,)` float64 `(a, b, c)`: the ground is at `z = a + b x + c y` metres in the sensor frame.
    """

    bits: NDArray[np.uint8]
    plane: Array


def rasterise(points: Array, grid: BevGrid = RASTER) -> Raster:
    """Rasterise a scan: points `(N, >=3)` `[x y z ...]` in the sensor frame, metres. Non-finite points are left out,
    and so are those that are not on `grid`.

    Raises:
        InputError: if `points` is not `(N, >=3)`.
    """
    if points.ndim != 2 or points.shape[1] < 3:
        raise InputError(f"expected points to be (N, >=3) [x y z ...], got shape {points.shape}")
    x, y, z = (np.ascontiguousarray(points[:, axis], dtype=np.float32) for axis in range(3))
    low_x, low_y = np.float32(grid.x_min_m), np.float32(grid.y_min_m)
    inside = (x >= low_x) & (x < np.float32(grid.x_max_m)) & (y >= low_y) & (y < np.float32(grid.y_max_m))
    inside &= np.isfinite(z)  # NaN compares false
    x, y, z = x[inside], y[inside], z[inside]

    # One floor for both grids: a coarse cell is 16 x 16 fine ones. min() guards against rounding at the far edge.
    col = np.minimum(((x - low_x) * np.float32(1 / grid.cell_m)).astype(np.int32), grid.cols - 1)
    row = np.minimum(((y - low_y) * np.float32(1 / grid.cell_m)).astype(np.int32), grid.rows - 1)
    wide = coarse_grid(grid)
    coarse = (row // COARSE) * wide.cols + col // COARSE
    plane, local = estimate_ground(coarse, z, wide)

    a, b, c = (np.float32(v) for v in plane)
    height = z - (a + b * x + c * y) - local[coarse]
    above = height >= _BELOW_M
    layer = np.searchsorted(np.asarray(BIN_EDGES_M, np.float32), height[above], side="right")
    occupied = np.zeros((grid.rows * grid.cols, BINS), dtype=bool)
    occupied[row[above] * grid.cols + col[above], layer] = True
    bits = np.packbits(occupied.ravel(), bitorder="little").reshape(grid.rows, grid.cols)  # 8 bins fill a byte
    return Raster(bits, plane)


def coarse_grid(grid: BevGrid) -> BevGrid:
    """The cells of a raster, 16 x 16 in one; the last of a row or column may reach beyond it."""
    return BevGrid(
        grid.x_min_m, grid.y_min_m, grid.cell_m * COARSE, rows=-(-grid.rows // COARSE), cols=-(-grid.cols // COARSE)
    )


def estimate_ground(coarse: Array, z: Float32, wide: BevGrid) -> tuple[Array, Float32]:
    """Ground under the points of a scan.

    Args:
        coarse: `(N,)` flat index of each point's cell of `wide`.
        z: `(N,)` heights in metres, sensor frame.
        wide: the coarse grid, of at most 65,536 cells.

    Returns:
        `plane (3,)` float64 as in `Raster`, and the correction `(cells,)` float32 in metres a coarse cell, to be
        added.
    """
    cells = wide.rows * wide.cols
    lowest = np.full(cells, np.inf, dtype=np.float32)
    small = np.uint8 if cells <= 256 else np.uint16
    order = np.argsort(coarse.astype(small), kind="stable")  # a radix sort: a sixth of the time of minimum.at
    first = np.flatnonzero(np.diff(coarse[order], prepend=-1))
    lowest[coarse[order[first]]] = np.minimum.reduceat(z[order], first)
    seen: Int64 = np.flatnonzero(np.isfinite(lowest))
    local = np.zeros(cells, dtype=np.float32)
    if len(seen) == 0:
        return np.array([-_DEFAULT_MOUNT_M, 0.0, 0.0]), local
    centre_x = wide.x_min_m + (seen % wide.cols + 0.5) * wide.cell_m
    centre_y = wide.y_min_m + (seen // wide.cols + 0.5) * wide.cell_m
    minima = lowest[seen].astype(np.float64)
    plane = _fit_plane(np.stack([np.ones(len(seen)), centre_x, centre_y], axis=1), minima)
    residual = minima - (plane[0] + plane[1] * centre_x + plane[2] * centre_y)
    local[seen] = _smooth(seen, residual, wide)[seen]
    return plane, local


def _fit_plane(design: Array, z: Array) -> Array:
    """Plane `(3,)` at the `_QUANTILE` of `z (K,)` over `design (K, 3) [1 x y]`, by reweighted least squares."""
    prior = np.diag([1e-9, _LEVEL, _LEVEL])
    solution = np.array([np.quantile(z, _QUANTILE), 0.0, 0.0])
    for _ in range(_ITERATIONS):
        residual = z - design @ solution
        side = np.where(residual > 0, _QUANTILE, 1 - _QUANTILE)
        weight = side / np.maximum(np.abs(residual), 0.05)
        weighted = design * weight[:, None]
        solution = np.linalg.solve(weighted.T @ design + prior, weighted.T @ z)
    return solution


def _smooth(seen: Int64, residual: Array, wide: BevGrid) -> Float32:
    """Correction `(cells,)` a coarse cell: mean of the credible residuals `(K,)` of it and its eight neighbours."""
    credible = np.abs(residual) < _LOCAL_CLIP_M
    total = np.zeros((wide.rows + 2, wide.cols + 2))
    count = np.zeros_like(total)
    row, col = seen[credible] // wide.cols, seen[credible] % wide.cols
    total[row + 1, col + 1] = residual[credible]
    count[row + 1, col + 1] = 1.0
    for axis in (0, 1):  # a binomial kernel; the frame of zeros keeps the sides apart
        total = np.roll(total, -1, axis) + 2 * total + np.roll(total, 1, axis)
        count = np.roll(count, -1, axis) + 2 * count + np.roll(count, 1, axis)
    mean = np.divide(total, count, out=np.zeros_like(total), where=count > 0)[1:-1, 1:-1]
    return mean.astype(np.float32).ravel()


def unpack(bits: NDArray[np.uint8]) -> Float32:
    """Bits `(..., R, C)` uint8 as `(..., 8, R, C)` float32 of zeros and ones."""
    planes = (bits[..., None, :, :] >> np.arange(BINS, dtype=np.uint8)[:, None, None]) & 1
    return planes.astype(np.float32)
