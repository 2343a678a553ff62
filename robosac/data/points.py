"""Points of a scan from the columns of its PCD file, and what their intensities mean."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from robosac import pcd
from robosac.data.recording import DataError
from robosac.types import Array, Float32

_OF_BYTES: Final = (np.arange(256) / 255).astype(np.float32)


def points_of(cloud: pcd.PointCloud, path: Path) -> Float32:
    """Points `(N, 4)` of a scan; those that are not finite are left out. Intensity, in [0, 1], is the field
    `intensity`, else the red byte of `rgb`, else 0.

    Raises:
        DataError: if there is no x, y or z.
    """
    columns = {name: column for name, column in cloud.columns.items() if column.ndim == 1}
    if missing := [c for c in ("x", "y", "z") if c not in columns]:
        raise DataError(path, f"expected fields x y z, got {' '.join(cloud.columns)}: no {missing[0]}")
    points: Float32 = np.empty((len(cloud), 4), np.float32)
    with np.errstate(over="ignore"):  # a double that no float32 holds becomes inf, and goes
        for k, name in enumerate(("x", "y", "z")):
            points[:, k] = columns[name]
    points[:, 3] = _intensity(columns)
    if np.isfinite(points.sum(dtype=np.float64)):  # which no sum with a NaN or inf in it is
        return points
    finite: Float32 = points[np.isfinite(points[:, :3]).all(axis=1)]
    return finite


def _intensity(columns: Mapping[str, Array]) -> Array | float:
    if "intensity" in columns:
        return unit_intensity(columns["intensity"])
    for name in ("rgb", "rgba"):
        if name in columns:
            red: Float32 = _OF_BYTES[pcd.colour(columns[name])]
            return red
    return 0.0


def unit_intensity(raw: Array) -> Float32:
    """Intensities `(N,)` in [0, 1]: bytes are divided by 255, and so are numbers where one is above 1."""
    bytes_ = np.issubdtype(raw.dtype, np.integer)
    value = np.nan_to_num(np.asarray(raw, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    if bytes_ or (len(value) and value.max() > 1):
        value = value / np.float32(255)
    return np.clip(value, 0, 1).astype(np.float32)
