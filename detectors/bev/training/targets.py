"""What the head should say about an ego's surroundings, and how wrong it is.

Objects that the drawn agents saw are targets. Objects they did not see are ignored: neither wanted nor punished near
their centre, so that an ego alone is not taught to guess, and a subset is not punished for what it cannot know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from robosac.detectors.bev.config import ModelConfig
from robosac.detectors.bev.network import (
    AXIS,
    FORWARD,
    HEADING,
    HEAT,
    HEIGHT,
    LOG_SIZE,
    MEAN_SIZE_M,
    OFFSET,
    OUTPUTS,
)
from robosac.types import Array, Bool

_SPREAD = 0.22  # standard deviations of a target's heat, as a share of the box's length and width
_MIN_SPREAD_M = 0.6  # half a cell
_REGRESS = 0.3  # cells with at least this heat also regress the box
_IGNORE = 0.05  # cells with at least this heat of an unseen object are not punished


@dataclass(frozen=True, eq=False)
class Targets:
    """Targets of a batch of egos.

    Attributes:
        heat: `(B, H, W)` in [0, 1], 1 exactly at the cells that hold centres.
        care: `(B, H, W)` 0 where an unseen object is ignored, else 1.
        values: `(B, D, H, W)` as the head's output; the heat's channel is unused.
        weight: `(B, H, W)` of the box regression.
    """

    heat: Tensor
    care: Tensor
    values: Tensor
    weight: Tensor

    @staticmethod
    def stack(parts: list[Targets]) -> Targets:
        """Targets of single egos, each without the batch axis, as a batch."""
        return Targets(*(torch.stack([getattr(p, n) for p in parts]) for n in _FIELDS))

    @staticmethod
    def joined(batches: Sequence[Targets]) -> Targets:
        """Several batches as one."""
        return Targets(*(torch.cat([getattr(b, n) for b in batches]) for n in _FIELDS))

    def at(self, rows: Sequence[int]) -> Targets:
        """Some of the batch."""
        return Targets(*(getattr(self, n)[list(rows)] for n in _FIELDS))

    def to(self, device: torch.device) -> Targets:
        """The targets on a device."""
        return Targets(*(getattr(self, n).to(device) for n in _FIELDS))


_FIELDS = ("heat", "care", "values", "weight")


def draw_targets(boxes: Array, visible: Bool, ground: Array, model: ModelConfig) -> Targets:
    """Targets of one ego, without the batch axis.

    Args:
        boxes: `(G, 7)` in the ego frame.
        visible: `(G,)` whether the drawn agents saw the object.
        ground: `(3,)` plane of the ego's ground.
        model: whose map and outputs.
    """
    grid, outputs = model.map, OUTPUTS[model.heading]
    inside = grid.contains(boxes)
    boxes, visible = boxes[inside].astype(np.float64), visible[inside]
    shape = (grid.rows, grid.cols)
    if len(boxes) == 0:
        return Targets(torch.zeros(shape), torch.ones(shape), torch.zeros(outputs, *shape), torch.zeros(shape))
    x = grid.x_min_m + (np.arange(grid.cols) + 0.5) * grid.cell_m
    y = grid.y_min_m + (np.arange(grid.rows) + 0.5) * grid.cell_m
    dx, dy = x[None, None, :] - boxes[:, 0, None, None], y[None, :, None] - boxes[:, 1, None, None]
    cos, sin = np.cos(boxes[:, 6, None, None]), np.sin(boxes[:, 6, None, None])
    spread = np.maximum(boxes[:, 3:5] * _SPREAD, _MIN_SPREAD_M)[:, :, None, None]
    along, across = (cos * dx + sin * dy) / spread[:, 0], (-sin * dx + cos * dy) / spread[:, 1]
    blobs = np.exp(-(along**2 + across**2) / 2)  # (G, H, W)
    row, col = grid.cells(boxes)
    blobs[np.arange(len(boxes)), row, col] = 1.0

    owner = np.where(visible[:, None, None], blobs, -1.0).argmax(axis=0)
    heat = np.where(visible[:, None, None], blobs, 0.0).max(axis=0)
    unseen = np.where(visible[:, None, None], 0.0, blobs).max(axis=0)
    care = ~((unseen >= _IGNORE) & (heat < unseen))

    mine = boxes[owner]  # (H, W, 7)
    values = np.zeros((outputs, *shape))
    values[OFFSET] = (mine[..., 0] - x[None, :]) / grid.cell_m, (mine[..., 1] - y[:, None]) / grid.cell_m
    values[LOG_SIZE] = np.moveaxis(np.log(mine[..., 3:6] / np.asarray(MEAN_SIZE_M)), -1, 0)
    values[HEIGHT] = mine[..., 2] - (ground[0] + ground[1] * mine[..., 0] + ground[2] * mine[..., 1])
    values[AXIS] = np.sin(2 * mine[..., 6]), np.cos(2 * mine[..., 6])
    if model.heading == "side":
        values[FORWARD] = np.cos(mine[..., 6]) > 0
    else:
        values[HEADING] = np.cos(mine[..., 6]), np.sin(mine[..., 6])
    weight = np.where(heat >= _REGRESS, heat, 0.0) * care
    return Targets(*(torch.from_numpy(np.asarray(a, np.float32)) for a in (heat, care, values, weight)))


def loss(output: Tensor, targets: Targets, forward_weight: float = 0.1) -> dict[str, Tensor]:
    """Losses of the head's output `(B, D, H, W)`: focal loss of the heat, L1 of the box, cross entropy of the
    direction. `total` is their weighted sum; each is a scalar."""
    output = output.float()
    logit, heat = output[:, HEAT], targets.heat
    p = torch.sigmoid(logit).clamp(1e-4, 1 - 1e-4)
    centre = (heat == 1).float()
    positive = -((1 - p) ** 2) * torch.log(p) * centre
    negative = -(p**2) * torch.log(1 - p) * (1 - heat) ** 4 * targets.care
    focal = (positive + negative).sum() / centre.sum().clamp(min=1.0)

    weight = targets.weight[:, None] / targets.weight.sum().clamp(min=1.0)

    def l1(channels: slice) -> Tensor:
        error = functional.smooth_l1_loss(output[:, channels], targets.values[:, channels], beta=0.05, reduction="none")
        return (error * weight).sum()

    offset, size, axis = l1(OFFSET), l1(LOG_SIZE), l1(AXIS)
    z = l1(slice(HEIGHT, HEIGHT + 1))
    forward = (_direction(output, targets.values) * weight[:, 0]).sum()
    total = focal + offset + 2.0 * size + 0.5 * z + axis + forward_weight * forward
    return {"total": total, "focal": focal, "offset": offset, "size": size, "z": z, "axis": axis, "forward": forward}


def _direction(output: Tensor, values: Tensor) -> Tensor:
    """`(B, H, W)`: cross entropy of which way along its axis a box looks."""
    if output.shape[1] == FORWARD + 1:
        return functional.binary_cross_entropy_with_logits(output[:, FORWARD], values[:, FORWARD], reduction="none")
    return functional.softplus(-(output[:, HEADING] * values[:, HEADING]).sum(dim=1))
