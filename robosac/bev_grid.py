"""The raster of a score map, seen from above."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class BevGrid:
    """The bird's-eye-view raster of a detector's score map, in the ego frame.

    Cell `(row, col)` covers `x_min_m + col * cell_m` and `y_min_m + row * cell_m` onwards.
    """

    x_min_m: float
    y_min_m: float
    cell_m: float
    rows: int
    cols: int

    @property
    def x_max_m(self) -> float:
        return self.x_min_m + self.cols * self.cell_m

    @property
    def y_max_m(self) -> float:
        return self.y_min_m + self.rows * self.cell_m

    def contains(self, xy: NDArray[Any]) -> NDArray[np.bool_]:
        """Which points `(N, >=2)` in the ego frame are on the grid. Returns `(N,)` bool."""
        low, high = (self.x_min_m, self.y_min_m), (self.x_max_m, self.y_max_m)
        return np.asarray(((xy[:, :2] >= low) & (xy[:, :2] < high)).all(axis=1), np.bool_)

    def cells(self, xy: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row and column `(N,)` of points `(N, >=2)` that are on the grid (see `contains`)."""
        col = np.floor((xy[:, 0] - self.x_min_m) / self.cell_m).astype(np.int64)
        row = np.floor((xy[:, 1] - self.y_min_m) / self.cell_m).astype(np.int64)
        return row, col
