"""Teammates' feature maps, brought into the ego's frame: bilinear sampling and where it is valid.

A rigid motion seen from above: maps are level rasters, so roll, pitch and height of the poses play no role.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from robosac.boxes import invert_pose, yaw_of
from robosac.types import BevGrid, Float64

_EDGE = 1e-3  # in cells: rounding must not cut the border row off an identical map


def planar(dst_T_src: Float64) -> tuple[float, float, float]:
    """`(x, y, yaw)` in metres and radians of a pose `(4, 4)` seen from above."""
    return float(dst_T_src[0, 3]), float(dst_T_src[1, 3]), yaw_of(dst_T_src)


def relative_planar(world_T_ego: Float64, world_T_sender: Float64) -> tuple[float, float, float]:
    """`(x, y, yaw)` of the sender's frame in the ego's, seen from above."""
    return planar(invert_pose(world_T_ego) @ world_T_sender)


def sample_grid(ego_T_sender: Tensor, grid: BevGrid) -> tuple[Tensor, Tensor]:
    """Where to read senders' maps for every cell of the ego's.

    Args:
        ego_T_sender: `(P, 3)` float64 `(x, y, yaw)` of each sender's frame in the ego's.
        grid: the raster of both maps.

    Returns:
        `(P, H, W, 2)` float32 normalised coordinates (as `grid_sample` wants them, `align_corners=False`) and
        `(P, 1, H, W)` float32, 1 where all that bilinear sampling reads is on the sender's map, else 0.
    """
    x = grid.x_min_m + (torch.arange(grid.cols, dtype=torch.float64) + 0.5) * grid.cell_m
    y = grid.y_min_m + (torch.arange(grid.rows, dtype=torch.float64) + 0.5) * grid.cell_m
    t = ego_T_sender.double()[:, :, None, None]
    dx, dy = x[None, None, :] - t[:, 0], y[None, :, None] - t[:, 1]
    cos, sin = torch.cos(t[:, 2]), torch.sin(t[:, 2])
    col = (cos * dx + sin * dy - grid.x_min_m) / grid.cell_m - 0.5  # in cells, 0 at the first cell's centre
    row = (-sin * dx + cos * dy - grid.y_min_m) / grid.cell_m - 0.5
    on_map = (col > -_EDGE) & (col < grid.cols - 1 + _EDGE) & (row > -_EDGE) & (row < grid.rows - 1 + _EDGE)
    normalised = torch.stack([(2 * col + 1) / grid.cols - 1, (2 * row + 1) / grid.rows - 1], dim=-1)
    return normalised.float(), on_map[:, None].float()


def warp(maps: Tensor, ego_T_sender: Tensor, grid: BevGrid) -> tuple[Tensor, Tensor]:
    """Bring maps `(P, C, H, W)` of senders at `ego_T_sender (P, 3)` to the ego's frame.

    Returns:
        Warped maps `(P, C, H, W)`, zero where not valid, and the validity `(P, 1, H, W)` of 0 and 1.
    """
    where, valid = (t.to(maps.device) for t in sample_grid(ego_T_sender, grid))
    # Border padding, then the mask: a cell within rounding of the border keeps its full value.
    sampled = functional.grid_sample(maps, where.to(maps.dtype), padding_mode="border", align_corners=False)
    return sampled * valid, valid


def planar_batch(poses: list[tuple[float, float, float]]) -> Tensor:
    """`(P, 3)` float64 tensor of planar poses; `(0, 3)` for none."""
    return torch.from_numpy(np.asarray(poses, dtype=np.float64).reshape(-1, 3))
