"""From the head's output to boxes: peaks of the heat, their boxes, rotated non-maximum suppression."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from robosac.boxes import nms_bev, wrap_angle
from robosac.detectors.bev.config import DecodeConfig
from robosac.detectors.bev.network import AXIS, FORWARD, HEADING, HEAT, HEIGHT, LOG_SIZE, MEAN_SIZE_M, OFFSET
from robosac.types import Array, BevGrid, Bool, Detections, Float32

# A box is at most e^2 times the mean car and near its cell and the ground, whatever a malicious message makes of it.
_LOG_SIZE_RANGE = 2.0
_OFFSET_RANGE = 4.0
_HEIGHT_RANGE_M = 10.0


def decode(output: Tensor, grid: BevGrid, ground: Array, config: DecodeConfig) -> list[Detections]:
    """Read boxes from the head's output.

    Args:
        output: `(B, D, H, W)`, channels as in `robosac.detectors.bev.network`.
        grid: the map's.
        ground: `(3,)` plane of the ego's ground, as in `robosac.detectors.bev.raster.Raster`.
        config: thresholds.

    Returns:
        Per element: boxes in the ego frame, best first, and the score map `(H, W)` float32. Where the output is not
        finite, as an absurd message or broken weights make it, there is no box and the map is NaN.
    """
    sound = output.sum(dim=1, dtype=torch.float64).isfinite()  # of float32, whose sums cannot overflow there
    heat = torch.where(sound, torch.sigmoid(output[:, HEAT].float()), 0.0)
    peak = (functional.max_pool2d(heat[:, None], 3, 1, 1)[:, 0] == heat) & (heat >= config.score_threshold)
    flat = torch.where(peak, heat, -1.0).flatten(1)
    scores, cells = flat.topk(min(config.max_candidates, flat.shape[1]), dim=1)
    values = output.flatten(2).gather(2, cells[:, None].expand(-1, output.shape[1], -1))
    score = scores.cpu().numpy()
    boxes = boxes_at(values.float().permute(0, 2, 1).cpu().numpy(), cells.cpu().numpy(), grid, ground)
    good = (score >= max(config.score_threshold, 0.0)) & np.isfinite(boxes).all(axis=2)
    kept_boxes = [b[g] for b, g in zip(boxes, good, strict=True)]
    kept_scores = [s[g] for s, g in zip(score, good, strict=True)]
    keeps = [nms_bev(b, s, config.nms_iou) for b, s in zip(kept_boxes, kept_scores, strict=True)]
    maps = torch.where(sound, heat, torch.nan).cpu().numpy()
    return [Detections(b[k], s[k], m) for b, s, k, m in zip(kept_boxes, kept_scores, keeps, maps, strict=True)]


def box_maps(output: Tensor, grid: BevGrid, ground: Array) -> Tensor:
    """The box of every cell, `(B, H, W, 7)` in the ego frame: `boxes_at` for all of an output `(B, D, H, W)`, in
    torch and differentiable (but for which way a box points, which is a decision). `ground (3,)` as above."""
    values = output.float().permute(0, 2, 3, 1)
    rows, cols = torch.meshgrid(
        torch.arange(grid.rows, device=output.device), torch.arange(grid.cols, device=output.device), indexing="ij"
    )
    offset = values[..., OFFSET].clamp(-_OFFSET_RANGE, _OFFSET_RANGE)
    x = grid.x_min_m + (cols + 0.5 + offset[..., 0]) * grid.cell_m
    y = grid.y_min_m + (rows + 0.5 + offset[..., 1]) * grid.cell_m
    mean_size = values.new_tensor(MEAN_SIZE_M)
    size = values[..., LOG_SIZE].clamp(-_LOG_SIZE_RANGE, _LOG_SIZE_RANGE).exp() * mean_size
    height = values[..., HEIGHT].clamp(-_HEIGHT_RANGE_M, _HEIGHT_RANGE_M)
    z = height + float(ground[0]) + float(ground[1]) * x + float(ground[2]) * y
    sine, cosine = values[..., AXIS].unbind(-1)
    axis = torch.atan2(sine, cosine) / 2
    if values.shape[-1] > FORWARD + 1:
        east, north = values[..., HEADING].unbind(-1)
        along = east * torch.cos(axis) + north * torch.sin(axis) >= 0
    else:
        along = values[..., FORWARD] > 0
    yaw = axis + torch.where(along, 0.0, torch.pi)
    wrapped = torch.remainder(yaw + torch.pi, 2 * torch.pi) - torch.pi
    return torch.cat([torch.stack([x, y, z], dim=-1), size, wrapped[..., None]], dim=-1)


def boxes_at(values: Array, cells: Array, grid: BevGrid, ground: Array) -> Float32:
    """Boxes `(..., 7)` of head outputs `values (..., D)` at flat map cells `cells (...)`; `ground (3,)` as above."""
    offset = np.clip(values[..., OFFSET], -_OFFSET_RANGE, _OFFSET_RANGE)
    x = grid.x_min_m + (cells % grid.cols + 0.5 + offset[..., 0]) * grid.cell_m
    y = grid.y_min_m + (cells // grid.cols + 0.5 + offset[..., 1]) * grid.cell_m
    size = np.exp(np.clip(values[..., LOG_SIZE], -_LOG_SIZE_RANGE, _LOG_SIZE_RANGE)) * np.asarray(MEAN_SIZE_M)
    height = np.clip(values[..., HEIGHT], -_HEIGHT_RANGE_M, _HEIGHT_RANGE_M)
    z = height + ground[0] + ground[1] * x + ground[2] * y
    axis = np.arctan2(values[..., AXIS][..., 0], values[..., AXIS][..., 1]) / 2
    yaw = wrap_angle(axis + np.where(_looks_along(values, axis), 0.0, np.pi))
    return np.concatenate([np.stack([x, y, z], axis=-1), size, yaw[..., None]], axis=-1).astype(np.float32)


def _looks_along(values: Array, axis: Array) -> Bool:
    """Which boxes of head outputs `(..., D)` look along `axis (...)`, an angle in [-pi/2, pi/2], and not against it."""
    if values.shape[-1] == FORWARD + 1:
        return np.asarray(values[..., FORWARD] > 0)
    heading = values[..., HEADING]
    return np.asarray(heading[..., 0] * np.cos(axis) + heading[..., 1] * np.sin(axis) >= 0)
