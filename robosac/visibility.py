"""Which part of the ground a scan proves to be free or to end at: what an agent can see for itself.

The defence weighs evidence with it; an attack that knows the victim's view looks for where the victim is blind.
"""

from __future__ import annotations

import numpy as np

from robosac.types import BevGrid, Float32, Float64


def seen_cells(
    points: Float32, grid: BevGrid, *, height_m: float = 1.2, steps: int = 12, max_rays: int = 8192
) -> Float64:
    """Which cells `(H, W)` of the grid, 1 or 0, the ego's own rays passed below `height_m` above ground or ended in.

    `points` `(N, 4)` are in the ego's sensor frame, the sensor at the origin. A ray that ends at range R and height z
    above ground, from a sensor at height h, is below `height_m` from range `R (h - height_m) / (h - z)` on; any car
    there would have stopped it. Scans of more than `max_rays` rays are thinned, evenly, to no fewer than that.
    """
    seen = np.zeros(grid.rows * grid.cols)
    # one contiguous row a coordinate, float32: the work is memory traffic
    xyz = np.ascontiguousarray(points[:: max(1, len(points) // max_rays), :3].T, dtype=np.float32)
    x, y, z = xyz[:, np.isfinite(xyz).all(axis=0)]
    if len(z) == 0:
        return seen.reshape(grid.rows, grid.cols)
    near = z[np.hypot(x, y) < 20.0]
    sensor_height = max(-float(np.percentile(near if len(near) else z, 10)), height_m + 0.1)
    start = np.float32(sensor_height - height_m) / np.maximum(-z, np.float32(1e-3))  # share of the ray that is high
    low = start <= 1.0  # rays that end above the height prove nothing about cars
    x, y, start = x[low], y[low], start[low]
    for share in np.linspace(0.0, 1.0, steps, dtype=np.float32):  # a step at a time stays in the cache
        fraction = start + (1 - start) * share
        col = (x * fraction - np.float32(grid.x_min_m)) / np.float32(grid.cell_m)
        row = (y * fraction - np.float32(grid.y_min_m)) / np.float32(grid.cell_m)
        inside = (col >= 0) & (col < grid.cols) & (row >= 0) & (row < grid.rows)
        seen[row[inside].astype(np.intp) * grid.cols + col[inside].astype(np.intp)] = 1.0
    return seen.reshape(grid.rows, grid.cols)
