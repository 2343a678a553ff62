"""Points to voxels as spconv 2 does it on the CPU, for where spconv is not installed.

The rule, found by running spconv 2.3.8: a point belongs to the cell `floor((p - min) / size)`, computed in float32;
one outside of the grid, or not finite, is dropped. A voxel is born with its first point, so voxels come in the order
of their first points; once `max_voxels` exist no more are born, but those that exist go on filling. A voxel keeps its
first `max_points` points in the order given; the rest of its rows are zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robosac.types import Array, Float32, InputError, Int64


def voxelise(
    points: Array, voxel_size: Sequence[float], lidar_range: Sequence[float], max_points: int, max_voxels: int
) -> tuple[Float32, Array, Array]:
    """Gather points `(N, C)` float32 (x y z first, metres) in voxels, bit for bit as spconv 2.3.8 does.

    Args:
        voxel_size: `(3,)` metres along x y z.
        lidar_range: `(6,)` metres, lower corner then upper corner.
        max_points: points kept in a voxel.
        max_voxels: voxels kept in all.

    Returns:
        `features (V, max_points, C)` float32 zero-padded, `coords (V, 3)` int32 [z y x], `num_points (V,)` int32.

    Raises:
        InputError: on shapes or numbers that describe no grid.
    """
    points = np.ascontiguousarray(points, np.float32)
    if points.ndim != 2 or points.shape[1] < 3:
        raise InputError(f"expected points of shape (N, 3 or more), got {points.shape}")
    size, low, grid = _grid(voxel_size, lidar_range)
    if max_points < 1 or max_voxels < 1:
        raise InputError(f"expected at least one point a voxel and one voxel, got {max_points} and {max_voxels}")
    with np.errstate(invalid="ignore", over="ignore"):
        cell = np.floor((points[:, :3] - low) / size)
    inside = np.flatnonzero(((cell >= 0) & (cell < grid)).all(axis=1))  # NaN compares false: dropped
    ix, iy, iz = cell[inside].astype(np.int64).T
    key = (iz * grid[1] + iy) * grid[0] + ix

    voxel, slot, first = _slots(key)
    kept = (voxel < max_voxels) & (slot < max_points)
    first = first[:max_voxels]
    features = np.zeros((len(first), max_points, points.shape[1]), np.float32)
    features[voxel[kept], slot[kept]] = points[inside[kept]]
    coords = np.stack([iz[first], iy[first], ix[first]], axis=1).astype(np.int32)
    counts = np.minimum(np.bincount(voxel, minlength=len(first))[: len(first)], max_points).astype(np.int32)
    return features, coords, counts


def _grid(voxel_size: Sequence[float], lidar_range: Sequence[float]) -> tuple[Float32, Float32, Int64]:
    """Cell size `(3,)`, lower corner `(3,)` and number of cells `(3,)`, along x y z."""
    size, bounds = np.asarray(voxel_size, np.float32), np.asarray(lidar_range, np.float32)
    if size.shape != (3,) or bounds.shape != (6,):
        raise InputError(f"expected 3 voxel sizes and 6 bounds, got shapes {size.shape} and {bounds.shape}")
    if not (np.isfinite(size).all() and np.isfinite(bounds).all() and (size > 0).all()):
        raise InputError(f"expected finite bounds and positive voxel sizes, got {size.tolist()} and {bounds.tolist()}")
    grid = np.round((bounds[3:] - bounds[:3]) / size).astype(np.int64)
    if (grid < 1).any():
        raise InputError(f"expected a grid of at least one cell a side, got {grid.tolist()}; widen {bounds.tolist()}")
    return size, bounds[:3], grid


def _slots(key: Int64) -> tuple[Int64, Int64, Int64]:
    """For points in cells `key (P,)`: each one's voxel `(P,)`, place in it `(P,)`; each voxel's first point `(V,)`."""
    if len(key) == 0:
        return key, key, key
    order = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(key[order]) != 0])
    lengths = np.diff(np.r_[starts, len(key)])
    first = order[starts]  # stable: the earliest point of each cell
    rank = np.empty(len(starts), np.int64)
    rank[np.argsort(first)] = np.arange(len(starts))
    voxel, slot = np.empty_like(key), np.empty_like(key)
    voxel[order] = np.repeat(rank, lengths)
    slot[order] = np.arange(len(key)) - np.repeat(starts, lengths)
    return voxel, slot, np.sort(first)
